"""Diagnostics once a second, from the executor's thread: a stalled engine cannot stop them."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from seg_ros.model_card import GRAPH_FILE
from seg_ros.node.condition import Condition, Level, Limits, State, Verdict
from seg_ros.node.freshness import stamp_age_s
from seg_ros.node.image_sources import (
    explain_absence,
    explain_loss,
    explain_silence,
    find_images,
    find_sources,
)
from seg_ros.node.lifecycle import FINALIZED, UNCONFIGURED
from seg_ros.node.publisher import create_publisher
from seg_ros.node.runtime import create_steady_timer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from builtin_interfaces.msg import Time as Stamp

    from seg_ros.node.camera_input import CameraInput
    from seg_ros.node.config import NodeConfig
    from seg_ros.node.lifecycle import ToldLifecycleNode
    from seg_ros.node.mailbox import Mailbox
    from seg_ros.segmenter import Segmenter

_PERIOD_S = 1.0
_LEVELS = {
    Level.OK: DiagnosticStatus.OK,
    Level.WARN: DiagnosticStatus.WARN,
    Level.ERROR: DiagnosticStatus.ERROR,
}
# What is logged when it begins; the rest is logged where it happens, or comes and goes.
_TROUBLES = (State.WAITING, State.SILENT, State.LOSSY, State.STALLED)


def model_in_use(segmenter: Segmenter) -> dict[str, str]:
    """What really runs, as diagnostics and the parameters ``in_use.*`` tell it."""
    card, backend = segmenter.card, segmenter.backend
    return {
        'device': backend.device,
        'backend': backend.name,
        'precision': backend.precision,
        'model_name': card.name,
        'model_sha256': card.files.get(GRAPH_FILE, ''),
    }


class Status:
    """Tells what state the node is in: feeds ``condition``, publishes ``/diagnostics``, logs.

    Args:
        node: Owner of publisher and timer.
        mailbox: Holds the counters.
        config: Gives the present config, which holds the limits of WARN and ERROR.
        inputs: By image topic, while the node is active.
        has_listener: Whether anybody listens to any output.
    """

    def __init__(
        self,
        node: ToldLifecycleNode,
        mailbox: Mailbox,
        config: Callable[[], NodeConfig],
        inputs: Mapping[str, CameraInput],
        has_listener: Callable[[], bool],
    ) -> None:
        self._node = node
        self._mailbox = mailbox
        self._config = config
        self._inputs = inputs
        self._has_listener = has_listener
        self._condition = Condition()
        self._model: dict[str, str] = {}
        self._stale = 0
        self._invalid_px = 0
        self._trouble: tuple[State, str] | None = None
        self._publisher = create_publisher(node, DiagnosticArray, '/diagnostics')
        self._timer = create_steady_timer(node, _PERIOD_S, self._publish)

    def describe(self, segmenter: Segmenter | None) -> None:
        """Keep what is said of the model with every report; None once it is unloaded."""
        model = model_in_use(segmenter) if segmenter else {}
        if model != self._model:
            self._condition.forget_frames()
        self._model = model

    def activate(self) -> None:
        """Watch the cameras."""
        self._condition.activate(self._inputs, time.monotonic())

    def deactivate(self) -> None:
        """Watch no camera any more."""
        self._condition.deactivate()

    def enable(self, enabled: bool) -> None:
        """Note whether the user lets the node work."""
        self._condition.is_enabled = enabled

    def complain(self, text: str) -> None:
        """Tell for a while what went wrong beside the frames; an empty text takes it back."""
        self._condition.complain(text, time.monotonic())

    def arrive(self, topic: str) -> None:
        """Note that a frame of a camera came, wanted or not."""
        self._condition.cameras[topic].see_frame(time.monotonic())

    def lose(self, topic: str, count: int) -> None:
        """Note that frames of a camera were lost on their way."""
        self._condition.cameras[topic].see_loss(count, time.monotonic())

    def begin(self) -> None:
        """Note that the worker took a frame."""
        self._condition.begin_frame(time.monotonic())

    def end(self) -> None:
        """Note that the worker is done with it."""
        self._condition.end_frame()

    def count_stale(self) -> None:
        """Count a frame that was too old; called by the worker."""
        self._stale += 1

    def record(
        self,
        stamp: Stamp,
        *,
        processing_time_ms: float,
        preprocess_time_ms: float,
        inference_time_ms: float,
        postprocess_time_ms: float,
        publish_time_ms: float,
        invalid_px: int,
    ) -> dict[str, float | None]:
        """Take the figures of a published frame; called by the worker.

        Returns:
            The times, and ``pipeline_latency_ms``, for ``~/debug/``.
        """
        times_ms = {
            'processing_time_ms': processing_time_ms,
            'preprocess_time_ms': preprocess_time_ms,
            'inference_time_ms': inference_time_ms,
            'postprocess_time_ms': postprocess_time_ms,
            'publish_time_ms': publish_time_ms,
        }
        age_s = stamp_age_s(self._node.get_clock(), stamp)
        latency_ms = None if age_s is None else age_s * 1e3
        self._invalid_px += invalid_px
        self._condition.record_frame(
            time.monotonic(), times_ms, latency_ms, invalid_px, self._limits()
        )
        return {**times_ms, 'pipeline_latency_ms': latency_ms}

    def _limits(self) -> Limits:
        config = self._config()
        names = [field.name for field in dataclasses.fields(Limits)]
        return Limits(**{name: getattr(config, name) for name in names})

    def _publish(self) -> None:
        now_s, limits, condition = time.monotonic(), self._limits(), self._condition
        counters = self._mailbox.counters
        condition.refusal = self._node.refusal
        condition.is_configured = self._node.phase not in (UNCONFIGURED, FINALIZED)
        condition.has_listener = self._has_listener()
        for topic, camera in self._inputs.items():
            sources = find_sources(self._node, camera.topic)
            count = sum(source.type == camera.type_name for source in sources)
            condition.cameras[topic].see_publishers(count, now_s)
        verdict = self._explained(condition.judge(now_s, limits, counters.rejected))
        self._log(verdict)
        values = {
            'state': verdict.state.value,
            **self._model,
            **self._frame_values(now_s, limits),
            **{key: str(count) for key, count in dataclasses.asdict(counters).items()},
            'stale': str(self._stale),
            'invalid_px': str(self._invalid_px),
        }
        status = DiagnosticStatus(
            level=_LEVELS[verdict.level],
            message=verdict.message,
            name=f'{self._node.get_fully_qualified_name().strip("/")}: segmentation',
            hardware_id=self._model.get('device', ''),
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _frame_values(self, now_s: float, limits: Limits) -> dict[str, str]:
        """Figures of the last frame, none where it is not of now."""
        if (last := self._condition.figures(now_s, limits)) is None:
            return {}
        values = {
            'is_processing_time_ms_in_expected_range': str(last.slow_since_s is None),
            'consecutive_processing_delay_ms': f'{last.delay_ms:.3f}',
            **{key: f'{ms:.3f}' for key, ms in last.times_ms.items()},
        }
        if last.latency_ms is not None:
            values['last_stamp_age_ms'] = f'{last.latency_ms:.3f}'
        return values

    def _explained(self, verdict: Verdict) -> Verdict:
        """Put the reason and the cure to a camera that gives nothing."""
        if verdict.state not in (State.WAITING, State.SILENT, State.LOSSY):
            return verdict
        camera = self._inputs[verdict.camera]
        topic, kind = camera.topic, camera.type_name
        sources = find_sources(self._node, topic)
        if verdict.state is State.WAITING:
            text = explain_absence(topic, kind, sources, find_images(self._node))
        else:
            fitting = [source for source in sources if source.type == kind]
            is_lossy = verdict.state is State.LOSSY
            text = (
                explain_loss(verdict.message, fitting)
                if is_lossy
                else explain_silence(topic, fitting, camera.reliability)
            )
        return dataclasses.replace(verdict, message=text)

    def _log(self, verdict: Verdict) -> None:
        """Log a trouble once when it begins, and when it is over."""
        log = self._node.get_logger()
        trouble = (verdict.state, verdict.camera)
        if verdict.level == Level.OK or verdict.state not in _TROUBLES:
            if self._trouble is not None and verdict.state is State.RUNNING:
                log.info('images arrive and are worked on again')
            if verdict.level == Level.OK:
                self._trouble = None
        elif trouble != self._trouble:
            self._trouble = trouble
            if verdict.level == Level.ERROR:  # rclpy wants one severity per line of code
                log.error(verdict.message)
            else:
                log.warning(verdict.message)
