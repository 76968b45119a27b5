"""The thread that owns the engine: convert, segment, post-process, publish."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from rclpy.logging import LoggingSeverity

from seg_ros.image import CameraImage, decode_compressed_image, decode_image
from seg_ros.node.config import COMPRESSED
from seg_ros.node.freshness import stamp_age_s
from seg_ros.node.outputs import Outputs, Result
from seg_ros.node.rejection_log import RejectionLog
from seg_ros.node.runtime import join

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rclpy.node import Node

    from seg_ros.node.camera_infos import CameraInfos
    from seg_ros.node.label_scheme import Serving
    from seg_ros.node.mailbox import Mailbox
    from seg_ros.node.status import Status
    from seg_ros.segmenter import Segmentation

Done = TypeVar('Done')

_LOG_PERIOD_S = 2.0
_NEEDS_CONFIDENCE = frozenset(('confidence', 'ball_candidates'))


class Frame(NamedTuple):
    """An image message and the calibrations of its camera."""

    message: Any
    infos: CameraInfos


class _Prepared(NamedTuple):
    """A frame on its way through the engine."""

    topic: str
    frame: Frame
    image: CameraImage
    wanted: frozenset[str]
    start_s: float
    decode_ms: float


class FrameWorker:
    """Works off a mailbox.

    It takes a new ``Serving`` between two frames, never within one. Of every frame it counts
    exactly one thing: published, dropped or rejected; whatever an engine throws, the next frame
    is served.

    Args:
        node: For clock and logger.
        mailbox: Where the frames wait.
        status: Learns the times of every frame.
        outputs: By image topic.
        on_adopted: Called with a ``Serving`` before its first frame.
    """

    def __init__(
        self,
        node: Node,
        mailbox: Mailbox,
        status: Status,
        outputs: Mapping[str, Outputs],
        on_adopted: Callable[[Serving], None],
    ) -> None:
        self._node = node
        self._mailbox = mailbox
        self._status = status
        self._outputs = outputs
        self._on_adopted = on_adopted
        self.rejections = RejectionLog(node.get_logger().warning)
        self._next: Serving | None = None
        self._thread: threading.Thread | None = None
        self._is_hung = False
        self.enabled = True

    def start(self) -> None:
        """Serve frames until ``stop``."""
        self._mailbox.open()
        self._thread = threading.Thread(target=self._run, name='segmentation', daemon=True)
        self._thread.start()

    def stop(self, limit_s: float) -> bool:
        """Finish the frame in work; those that wait are dropped.

        Args:
            limit_s: How long the frame in work may take; not waited for again once it took longer.

        Returns:
            Whether the engine came back.
        """
        self._mailbox.close()
        if self._thread is None or (not self._is_hung and join(self._thread, limit_s)):
            self._thread = None
            return True
        self._is_hung = self._thread.is_alive()
        return not self._is_hung

    def adopt(self, serving: Serving) -> None:
        """Use another model or other parameters from the next frame on."""
        self._next = serving
        if self._thread is None:
            self._on_adopted(serving)
        else:
            self._mailbox.wake()

    def release(self) -> None:
        """Let go of the model; the worker must be stopped."""
        self._next = None

    def enable(self, enabled: bool) -> None:
        """Publish nothing while disabled, not even the frame in work."""
        self.enabled = enabled
        if not enabled:
            self._mailbox.clear()

    def _run(self) -> None:
        serving = None
        limit, patience_s = 1, 0.0
        while (frames := self._mailbox.take(limit, patience_s)) is not None:
            if (newest := self._next) is not serving:
                assert newest is not None
                serving = newest
                limit, patience_s = _batching(serving)
                self._on_adopted(serving)
            if frames:
                assert serving is not None
                self._status.begin()
                self._work(frames, serving)
                self._status.end()

    def _work(self, frames: Mapping[str, Frame], serving: Serving) -> None:
        prepared = [
            ready
            for topic, frame in frames.items()
            if (ready := self._attempt(topic, self._prepare, topic, frame, serving)) is not None
        ]
        for ready, segmentation in self._segmented(prepared, serving):
            self._attempt(ready.topic, self._publish, ready, segmentation, serving)

    def _attempt(self, topic: str, step: Callable[..., Done], *arguments: Any) -> Done | None:
        """Run one step of a frame; None where it failed and was counted as rejected."""
        try:
            return step(*arguments)
        except ValueError as error:
            text = f'frame of {topic} rejected: {error}'
        except Exception as error:  # whatever an engine throws, the next frame is served
            text = f'frame of {topic} failed: {type(error).__name__}: {error}'
        self._mailbox.rejected()
        self.rejections.add(text)
        return None

    def _prepare(self, topic: str, frame: Frame, serving: Serving) -> _Prepared | None:
        start = time.perf_counter()
        wanted = self._outputs[topic].wanted(serving.scheme)
        if not wanted or not self.enabled or self._is_stale(topic, frame, serving):
            self._debug(
                f'{topic}: dropped; {"too old or disabled" if wanted else "nobody listens"}'
            )
            self._mailbox.dropped()
            return None
        limit = serving.config.max_image_pixels
        if serving.config.image_transport == COMPRESSED:
            image = decode_compressed_image(frame.message, max_image_pixels=limit)
        else:
            image = decode_image(frame.message, max_image_pixels=limit)
        decode_ms = (time.perf_counter() - start) * 1e3
        return _Prepared(topic, frame, image, wanted, start, decode_ms)

    def _segmented(
        self, prepared: list[_Prepared], serving: Serving
    ) -> list[tuple[_Prepared, Segmentation]]:
        """Segment together what came together; where that fails, one by one."""
        if len(prepared) > 1:
            with contextlib.suppress(Exception):  # told of the frame that it is, below
                return list(zip(prepared, _segment(prepared, serving), strict=True))
        return [
            (ready, results[0])
            for ready in prepared
            if (results := self._attempt(ready.topic, _segment, [ready], serving))
        ]

    def _is_stale(self, topic: str, frame: Frame, serving: Serving) -> bool:
        limit_s = serving.config.max_age_s
        if not limit_s:
            return False
        age_s = stamp_age_s(self._node.get_clock(), frame.message.header.stamp)
        if age_s is None or age_s <= limit_s:
            return False
        self._status.count_stale()
        self._node.get_logger().warning(
            f'frame of {topic} dropped: its stamp is {age_s:.3f} s old, max_age_s is {limit_s}. '
            'Bags need use_sim_time and a player that publishes /clock',
            throttle_duration_sec=_LOG_PERIOD_S,
        )
        return True

    def _debug(self, text: str) -> None:
        log = self._node.get_logger()
        if log.is_enabled_for(LoggingSeverity.DEBUG):  # rclpy looks the caller up before the level
            log.debug(text)

    def _publish(self, ready: _Prepared, done: Segmentation, serving: Serving) -> None:
        topic, frame, header = ready.topic, ready.frame, ready.frame.message.header
        if not self.enabled or self._is_stale(topic, frame, serving):
            self._mailbox.dropped()
            return
        before = time.perf_counter()
        labels = serving.scheme.postprocessors[topic].apply(done.labels)
        processed = time.perf_counter()
        outputs = self._outputs[topic]
        result = Result(labels, done.confidence, ready.image, header)
        if 'camera_info' in ready.wanted:
            frame.infos.publish_for(header, labels.shape[1], labels.shape[0])
        outputs.publish(ready.wanted, serving.scheme, result, serving.config.overlay_alpha)
        end = time.perf_counter()
        values = self._status.record(
            header.stamp,
            processing_time_ms=(end - ready.start_s) * 1e3,
            preprocess_time_ms=ready.decode_ms + done.timings.preprocess_ms,
            inference_time_ms=done.timings.inference_ms,
            postprocess_time_ms=done.timings.postprocess_ms + (processed - before) * 1e3,
            publish_time_ms=(end - processed) * 1e3,
            invalid_px=done.invalid_px,
        )
        outputs.publish_debug(ready.wanted, values)
        took_ms = (end - ready.start_s) * 1e3
        self._debug(f'{topic}: {", ".join(sorted(ready.wanted))} after {took_ms:.1f} ms')
        self._mailbox.published()  # last: a frame whose publication fails counts as rejected


def _segment(prepared: list[_Prepared], serving: Serving) -> list[Segmentation]:
    return serving.segmenter.segment_batch(
        [ready.image.pixels for ready in prepared],
        [ready.image.order for ready in prepared],
        with_confidence=any(not _NEEDS_CONFIDENCE.isdisjoint(r.wanted) for r in prepared),
        min_confidence=serving.config.min_confidence,
    )


def _batching(serving: Serving) -> tuple[int, float]:
    """Frames that are taken together at most, and how long the first one waits (s).

    Waiting is for nothing where the engine takes one image at a time.
    """
    limit = serving.segmenter.backend.max_batch
    return limit, serving.config.batch_timeout_ms / 1e3 if limit > 1 else 0.0
