"""The node: convert, segment, publish.

The executor's thread only puts the newest frame of each camera into a mailbox; one worker thread
owns the engine and publishes. Services and parameters therefore answer while a net runs.
"""

from __future__ import annotations

import functools
import threading
import time
from typing import TYPE_CHECKING, Any

import cv2
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from seg_ros.image import CameraImage, decode_compressed_image, decode_image
from seg_ros.node.camera_input import CameraInput
from seg_ros.node.config import COMPRESSED, NodeConfig
from seg_ros.node.mailbox import Mailbox
from seg_ros.node.outputs import ClassTopics, Outputs
from seg_ros.node.parameters import changed_config, declare_parameters
from seg_ros.node.runtime import release_free_memory
from seg_ros.node.status import Status
from seg_ros.segmenter import Segmenter, load

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleState
    from rclpy.parameter import Parameter

_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_LOG_PERIOD_S = 2.0
_RECONSIDER_PERIOD_S = 1.0


class SegmentationNode(LifecycleNode):
    """A lifecycle node that segments the images of one or several cameras.

    Raises:
        ValueError: If a parameter is unknown or wrong.
    """

    def __init__(self, defaults: NodeConfig | None = None) -> None:
        super().__init__('segmentation')
        self.config = declare_parameters(self, defaults or NodeConfig())
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._take_parameters)
        self._segmenter: Segmenter | None = None
        self._class_topics: ClassTopics | None = None
        self._outputs: dict[str, Outputs] = {}  # by image topic, as _inputs
        self._inputs: dict[str, CameraInput] = {}
        self._mailbox = Mailbox()
        self._worker: threading.Thread | None = None
        self._status = Status(self, self._mailbox)
        self.create_timer(_RECONSIDER_PERIOD_S, self._reconsider_inputs)
        if self.config.autostart and self.trigger_configure() == _SUCCESS:
            self.trigger_activate()

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load, verify and warm up the model; offer the topics."""
        config = self.config
        start = time.perf_counter()
        if config.num_threads:
            cv2.setNumThreads(config.num_threads)
        try:
            segmenter = load(
                config.model,
                backend=config.backend,
                precision=config.precision,
                num_threads=config.num_threads,
                device=config.device,
            )
            segmenter.warm_up()
            release_free_memory()
        except (ValueError, FileNotFoundError) as error:
            self.get_logger().error(f'model {config.model!r} cannot be used: {error}')
            return _FAILURE
        self._segmenter = segmenter
        self._status.describe(segmenter)
        self._class_topics = ClassTopics(self, segmenter.card.classes, config.min_confidence)
        for topic, prefix in config.camera_names().items():
            self._outputs[topic] = Outputs(
                self,
                prefix,
                segmenter.card.classes,
                label_encoding=config.label_encoding,
                with_masks=config.publish_masks,
            )
        backend = segmenter.backend
        self.get_logger().info(
            f'{segmenter.card.name} runs in {backend.name} {backend.precision} on '
            f'{backend.device} ({backend.reason}); ready after {time.perf_counter() - start:.2f} s'
        )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start the worker."""
        self._mailbox.open()
        self._worker = threading.Thread(target=self._work, name='segmentation', daemon=True)
        self._worker.start()
        for topic in self.config.image_topics:
            receive = functools.partial(self._receive, topic)
            self._inputs[topic] = CameraInput(self, topic, self.config, receive)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; the frame in work is finished, waiting ones are dropped."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take the topics off the graph and unload the model."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop intake, join the worker, destroy the publishers."""
        self._stop()
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Fall back to unconfigured after a failed transition."""
        self._stop()
        self._release()
        return super().on_error(state)

    def _stop(self) -> None:
        for camera in self._inputs.values():
            camera.destroy()
        self._inputs.clear()
        self._mailbox.close()
        if self._worker is not None:
            self._worker.join()
            self._worker = None

    def _release(self) -> None:
        for outputs in self._outputs.values():
            outputs.destroy()
        self._outputs.clear()
        if self._class_topics is not None:
            self._class_topics.destroy()
            self._class_topics = None
        self._segmenter = None

    def _reconsider_inputs(self) -> None:
        for camera in self._inputs.values():
            camera.reconsider()

    # Parameters

    def _check_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        try:
            changed_config(self.config, parameters, running=self._segmenter is not None)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _take_parameters(self, parameters: list[Parameter]) -> None:
        previous = self.config
        self.config = changed_config(previous, parameters, running=False)
        threshold = self.config.min_confidence
        if self._class_topics is not None and threshold != previous.min_confidence:
            self._class_topics.publish_label_info(threshold)

    # Frames

    def _receive(self, topic: str, message: Any) -> None:
        if self._outputs[topic].wanted():
            self._mailbox.put(topic, message)

    def _work(self) -> None:
        while (job := self._mailbox.take()) is not None:
            topic, message = job
            try:
                self._process(topic, message)
            except ValueError as error:
                self._mailbox.rejected()
                self._warn(f'frame of {topic} rejected: {error}')
            except Exception as error:  # whatever an engine throws, the next frame is served
                self._mailbox.rejected()
                self._warn(f'frame of {topic} failed: {type(error).__name__}: {error}')

    def _warn(self, text: str) -> None:
        self.get_logger().warning(text, throttle_duration_sec=_LOG_PERIOD_S)

    def _process(self, topic: str, message: Any) -> None:
        config, outputs = self.config, self._outputs[topic]
        wanted = outputs.wanted()
        if not wanted:
            self._mailbox.dropped()
            return
        assert self._segmenter is not None
        start = time.perf_counter()
        image = self._decode(message)
        decoded = time.perf_counter()
        result = self._segmenter.segment(
            image.pixels,
            image.order,
            with_confidence='confidence' in wanted,
            min_confidence=config.min_confidence,
        )
        segmented = time.perf_counter()
        header = message.header
        outputs.publish_labels(wanted, result, header)
        camera = self._inputs.get(topic)
        info = camera.camera_info if camera else None
        outputs.publish_camera_info(wanted, info, result.labels, header)
        outputs.publish_pictures(wanted, result, image, header, config.overlay_alpha)
        self._mailbox.published()
        published = time.perf_counter()
        processing_ms = (published - start) * 1e3
        self._status.record(
            header.stamp,
            processing_ms=processing_ms,
            preprocess_ms=(decoded - start) * 1e3 + result.timings.preprocess_ms,
            inference_ms=result.timings.inference_ms,
            postprocess_ms=result.timings.postprocess_ms,
            publish_ms=(published - segmented) * 1e3,
        )
        outputs.publish_debug(wanted, 'processing_time_ms', processing_ms)
        if (latency_ms := self._status.pipeline_latency_ms) is not None:
            outputs.publish_debug(wanted, 'pipeline_latency_ms', latency_ms)

    def _decode(self, message: Any) -> CameraImage:
        limit = self.config.max_image_pixels
        if self.config.image_transport == COMPRESSED:
            return decode_compressed_image(message, max_image_pixels=limit)
        return decode_image(message, max_image_pixels=limit)
