"""Diagnostics once a second, from the executor's thread: a stalled engine cannot stop them."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from seg_ros.model_card import GRAPH_FILE

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time as Stamp
    from rclpy.lifecycle import LifecycleNode

    from seg_ros.node.mailbox import Mailbox
    from seg_ros.segmenter import Segmenter

_PERIOD_S = 1.0
# A frame is in work for longer than this: the engine hangs or the machine is far too small.
_STALLED_AFTER_S = 5.0


class Status:
    """Collects the figures of the last frame and publishes ``/diagnostics``.

    Args:
        node: Owner of publisher and timer.
        mailbox: Holds the counters.
    """

    def __init__(self, node: LifecycleNode, mailbox: Mailbox) -> None:
        self._node = node
        self._mailbox = mailbox
        self._model: dict[str, str] = {}
        self._times: dict[str, float] = {}
        self._last_frame = time.monotonic()
        self._rejected = 0
        self.pipeline_latency_ms: float | None = None
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 1)
        self._timer = node.create_timer(_PERIOD_S, self._publish)

    def describe(self, segmenter: Segmenter) -> None:
        """Keep what is said of the model with every report."""
        card, backend = segmenter.card, segmenter.backend
        self._model = {
            'device': backend.device,
            'backend': backend.name,
            'precision': backend.precision,
            'model_name': card.name,
            'model_sha256': card.files.get(GRAPH_FILE, ''),
        }

    def record(
        self,
        stamp: Stamp,
        *,
        processing_ms: float,
        preprocess_ms: float,
        inference_ms: float,
        postprocess_ms: float,
        publish_ms: float,
    ) -> None:
        """Take the figures of a frame; called by the worker."""
        self._times = {
            'processing_time_ms': processing_ms,
            'preprocess_time_ms': preprocess_ms,
            'inference_time_ms': inference_ms,
            'postprocess_time_ms': postprocess_ms,
            'publish_time_ms': publish_ms,
        }
        self._last_frame = time.monotonic()
        self.pipeline_latency_ms = self._age_ms(stamp)

    def _age_ms(self, stamp: Stamp) -> float | None:
        """Clock minus stamp; None for stamp 0 or one in the future (a bag that looped).

        In plain numbers: rclpy's Time refuses stamps before 1970, which a camera may well send.
        """
        if not stamp.sec and not stamp.nanosec:
            return None
        age_ns = self._node.get_clock().now().nanoseconds - stamp.sec * 10**9 - stamp.nanosec
        return age_ns / 1e6 if age_ns >= 0 else None

    def _publish(self) -> None:
        counters = self._mailbox.counters
        values = {**self._model, **{key: f'{ms:.3f}' for key, ms in self._times.items()}}
        values |= {key: str(count) for key, count in dataclasses.asdict(counters).items()}
        if self.pipeline_latency_ms is not None:
            values['last_stamp_age_ms'] = f'{self.pipeline_latency_ms:.3f}'
        status = DiagnosticStatus(
            name=f'{self._node.get_fully_qualified_name().strip("/")}: segmentation',
            hardware_id=self._model.get('device', ''),
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
        status.level, status.message = self._judge()
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _judge(self) -> tuple[bytes, str]:
        counters = self._mailbox.counters
        newly_rejected = counters.rejected - self._rejected
        self._rejected = counters.rejected
        if not self._model:
            return DiagnosticStatus.WARN, 'not configured'
        pending = counters.received - counters.published - counters.dropped - counters.rejected
        silent_s = time.monotonic() - self._last_frame
        if pending and silent_s > _STALLED_AFTER_S:
            return DiagnosticStatus.ERROR, f'a frame is in work for {silent_s:.0f} s'
        if newly_rejected:
            return DiagnosticStatus.WARN, f'{newly_rejected} frames rejected in the last second'
        return DiagnosticStatus.OK, 'ready' if not self._times else 'segmenting'
