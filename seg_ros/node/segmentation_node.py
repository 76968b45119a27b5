"""The node: parameters, lifecycle and services; frames are worked on in ``frame_worker``.

The executor's thread only puts the newest frame of each camera into a mailbox; one worker thread
owns the engine and publishes, and new models are loaded in a third one. Services and parameters
therefore answer while a net runs or loads.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from seg_ros.node.camera_infos import CameraInfos
from seg_ros.node.camera_input import CameraInput
from seg_ros.node.camera_topics import check_topics
from seg_ros.node.class_topics import ClassTopics
from seg_ros.node.compat import add_post_set_parameters_callback
from seg_ros.node.config import NodeConfig
from seg_ros.node.frame_worker import Frame, FrameWorker
from seg_ros.node.freshness import RateLimit
from seg_ros.node.label_scheme import build_label_scheme
from seg_ros.node.lifecycle import HungError, ToldLifecycleNode
from seg_ros.node.mailbox import Mailbox
from seg_ros.node.model_host import ModelHost
from seg_ros.node.outputs import Outputs
from seg_ros.node.parameter_service import ParameterService
from seg_ros.node.parameters import (
    InUseParameters,
    changed_config,
    declare_parameters,
    reason_of,
    to_parameters,
)
from seg_ros.node.qos_overrides import check_qos_overrides
from seg_ros.node.runtime import create_steady_timer
from seg_ros.node.status import Status, model_in_use

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from seg_ros.node.label_scheme import Serving

_FRAME_LIMIT_S = 5.0  # as long as ros2 launch waits before it insists
_RECONSIDER_PERIOD_S = 1.0
_STAMPS_LOG_PERIOD_S = 10.0


class SegmentationNode(ToldLifecycleNode):
    """A lifecycle node that segments the images of one or several cameras.

    Args:
        defaults: Config with the values of those parameters that nobody gives.
        arguments: What ``rclpy.init`` got; None: the process's own, as there.
        waits: Whether ``start`` is called later, with the event that ends the process.

    Raises:
        ValueError: If a parameter is unknown or wrong.
    """

    def __init__(
        self,
        defaults: NodeConfig | None = None,
        arguments: Sequence[str] | None = None,
        *,
        waits: bool = False,
    ) -> None:
        super().__init__('segmentation', start_parameter_services=False)
        self.config = declare_parameters(self, defaults or NodeConfig(), arguments)
        check_qos_overrides(self)
        check_topics(self, self.config)
        self._in_use = InUseParameters(self)
        self._outputs: dict[str, Outputs] = {}  # by image topic, as _inputs
        self._inputs: dict[str, CameraInput] = {}
        self._infos: dict[str, CameraInfos] = {}
        self._rate_limits: dict[str, RateLimit] = {}
        self._class_topics: ClassTopics | None = None
        self._mailbox = Mailbox()
        self._status = Status(
            self, self._mailbox, lambda: self.config, self._inputs, self._have_listener
        )
        self._worker = FrameWorker(
            self, self._mailbox, self._status, self._outputs, self._on_adopted
        )
        self._host = ModelHost(self._serve)
        self._in_work: Serving | None = None  # what the worker took last
        self._adopted = self.create_guard_condition(self._retire_topics)
        self.create_service(SetBool, '~/enable', self._on_enable)
        self.create_service(
            Trigger,
            '~/reload_model',
            self._on_reload_model,
            # A group of its own: the others go on while its callback awaits the model.
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        create_steady_timer(self, _RECONSIDER_PERIOD_S, self._reconsider_inputs)
        create_steady_timer(self, _RECONSIDER_PERIOD_S, self._worker.rejections.flush)
        create_steady_timer(self, _RECONSIDER_PERIOD_S, self._host.watch)
        # Last: they are called for what the lines above declare, too, and use what those made.
        add_post_set_parameters_callback(self, self._take_parameters)
        self.add_on_set_parameters_callback(self._check_parameters)
        self._parameter_service = ParameterService(self, self.config)
        if not waits:
            self.start(self.stop)

    # Lifecycle

    def start(self, stop: threading.Event) -> None:
        """Configure and activate with ``autostart``; ``stop`` is set once the process must end."""
        self.stop = stop
        if self.config.autostart:
            self.drive_itself()

    def configure(self) -> str:
        """Load, verify and warm up the model; offer the topics."""
        config, start = self.config, time.perf_counter()
        self.get_logger().debug(f'parameters: {config}')
        segmenter = self._host.load(config, self.stop)
        scheme = build_label_scheme(segmenter.card.classes, config)
        self._class_topics = ClassTopics(self)
        for topic, prefix in config.camera_names().items():
            self._outputs[topic] = Outputs(self, prefix, config.label_encoding, scheme)
        self._host.start(segmenter, config)
        card, backend = segmenter.card, segmenter.backend
        return (
            f'{card.name} runs in {backend.name} {backend.precision} on '
            f'{backend.device} ({backend.reason}); ready after {time.perf_counter() - start:.2f} s'
        )

    def activate(self) -> str:
        """Subscribe and start the worker."""
        self._worker.start()
        for topic in self.config.image_topics:
            receive = functools.partial(self._receive, topic)
            infos = CameraInfos(
                self._outputs[topic].publish_camera_info,
                functools.partial(self._warn_of_stamps, topic),
            )
            self._rate_limits[topic] = RateLimit()
            self._infos[topic] = infos
            lose = functools.partial(self._status.lose, topic)
            self._inputs[topic] = CameraInput(self, topic, self.config, receive, infos.take, lose)
        self._status.activate()
        return f'listens to {", ".join(self.config.image_topics)}'

    def deactivate(self) -> str:
        """Unsubscribe; the frame in work is finished, waiting ones are dropped."""
        for camera in self._inputs.values():
            camera.destroy()
        self._inputs.clear()
        self._status.deactivate()
        limit_s = max(_FRAME_LIMIT_S, 0.0 if self.stop.is_set() else self.config.error_stalled_s)
        if not self._worker.stop(limit_s):
            raise HungError(f'the engine has not come back from a frame for {limit_s:g} s')
        return 'no image is taken'

    def cleanup(self) -> str:
        """Take the topics off the graph and unload the model."""
        for outputs in self._outputs.values():
            outputs.destroy()
        self._outputs.clear()
        if self._class_topics is not None:
            self._class_topics.destroy()
            self._class_topics = None
        self._host.release()
        self._worker.release()
        self._status.describe(None)
        self._in_use.set({})
        return 'the model is unloaded'

    def _reconsider_inputs(self) -> None:
        for camera in self._inputs.values():
            camera.reconsider()

    # Parameters and models

    def _check_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Refuse what would not work; nothing is changed and nothing slow is done."""
        try:
            config = changed_config(self.config, parameters, running=bool(self._host.serving))
            if config != self.config:
                check_topics(self, config)
                self._host.check(config, self.config)
        except Exception as error:  # whatever a value sets off, the answer is a reason
            return SetParametersResult(successful=False, reason=reason_of(error))
        return SetParametersResult(successful=True)

    def _take_parameters(self, parameters: list[Parameter]) -> None:
        previous = self.config
        self.config = changed_config(previous, parameters, running=False)
        if self._host.serving is None or self.config == previous:
            return
        before = {p.name: getattr(previous, p.name, None) for p in parameters}
        try:
            self._host.take(self.config)
        except Exception as error:  # what was checked a moment ago changed, or DDS refused
            self.config = previous
            self.get_logger().error(f'{", ".join(before)} set back: {reason_of(error)}')
            self.executor.create_task(self._set_back, before)
            return
        if self.config.model not in (self._host.running, previous.model):
            self.executor.create_task(self._follow_model_parameter, before)

    def _set_back(self, before: dict[str, Any]) -> None:
        self.set_parameters_atomically(to_parameters(self.config, before))

    async def _follow_model_parameter(self, before: dict[str, Any]) -> None:
        """Load what `model` was set to; where that fails, set back what was set with it."""
        model = self.config.model
        reason = await self._host.replace(lambda: self.config)
        if self.config.model != model:
            return  # somebody wanted another one meanwhile, with the parameters for it
        complaint = reason and f'model {model!r} was refused: {reason}'
        self._status.complain(complaint)
        if reason:
            self.get_logger().error(f'{complaint}; {self._host.running!r} goes on')
            self._set_back(before)

    def _serve(self, serving: Serving) -> None:
        """Offer the topics of a serving; the worker takes it from its next frame on."""
        for outputs in self._outputs.values():
            outputs.offer(serving.scheme.topics())
        self._status.describe(serving.segmenter)
        self._in_use.set(model_in_use(serving.segmenter))
        self._worker.adopt(serving)

    def _on_adopted(self, serving: Serving) -> None:
        """Say what the labels mean from here on; called by the worker between two frames."""
        self._in_work = serving
        if self._class_topics is not None:
            self._class_topics.announce(serving.scheme.classes, serving.config.min_confidence)
        self._adopted.trigger()

    def _retire_topics(self) -> None:
        """Take topics off the graph that nobody publishes on any more."""
        if (newest := self._host.serving) is not None and self._in_work is not None:
            for outputs in self._outputs.values():
                outputs.retire(self._in_work.scheme, newest.scheme)

    # Services

    def _on_enable(self, request: Any, response: Any) -> Any:
        self._worker.enable(request.data)
        self._status.enable(request.data)
        response.success = True
        response.message = 'enabled' if request.data else 'disabled'
        return response

    async def _on_reload_model(self, _: Any, response: Any) -> Any:
        start = time.perf_counter()
        reason = await self._host.replace(lambda: self.config)
        complaint = reason and f'the model could not be reloaded: {reason}'
        self._status.complain(complaint)
        if reason:
            self.get_logger().error(f'{complaint}; {self._host.running!r} goes on')
        response.success = not reason
        response.message = reason or (
            f'{self._host.running} runs after {time.perf_counter() - start:.2f} s'
        )
        return response

    # Frames

    def _have_listener(self) -> bool:
        return any(outputs.have_listener() for outputs in self._outputs.values())

    def _warn_of_stamps(self, topic: str) -> None:
        self.get_logger().warning(
            f'the camera_info beside {topic} never has the stamp of an image, so none is '
            'published for the labels: image_transport, too, pairs them by equal stamps',
            throttle_duration_sec=_STAMPS_LOG_PERIOD_S,
        )

    def _receive(self, topic: str, message: Any) -> None:
        self._status.arrive(topic)
        if not self._worker.enabled or not self._outputs[topic].have_listener():
            return
        if self._rate_limits[topic].admits(self.config.max_rate, time.monotonic()):
            self._mailbox.put(topic, Frame(message, self._infos[topic]))
        else:
            self._mailbox.refuse()
