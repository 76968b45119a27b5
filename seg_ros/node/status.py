"""Diagnostics once a second, from the executor's thread: a stalled engine cannot stop them."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from seg_ros.model_card import GRAPH_FILE
from seg_ros.node.freshness import stamp_age_s
from seg_ros.node.runtime import create_steady_timer

if TYPE_CHECKING:
    from collections.abc import Callable

    from builtin_interfaces.msg import Time as Stamp
    from rclpy.lifecycle import LifecycleNode

    from seg_ros.node.config import NodeConfig
    from seg_ros.node.mailbox import Mailbox
    from seg_ros.segmenter import Segmenter

_PERIOD_S = 1.0
_OK, _WARN, _ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


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
    """Collects the figures of the last frame and publishes ``/diagnostics``.

    Args:
        node: Owner of publisher and timer.
        mailbox: Holds the counters.
        limits: Gives the present config, which holds the limits of WARN and ERROR.
    """

    def __init__(
        self, node: LifecycleNode, mailbox: Mailbox, limits: Callable[[], NodeConfig]
    ) -> None:
        self._node = node
        self._mailbox = mailbox
        self._limits = limits
        self._model: dict[str, str] = {}
        self._times: dict[str, float] = {}
        self._latency_ms: float | None = None
        self._stale = 0
        self._rejected = 0
        self._busy_since_s: float | None = None
        self._slow_since_s: float | None = None
        self.complaint = ''  # of what went wrong beside the frames: a model that was refused
        self.enabled = True
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 1)
        self._timer = create_steady_timer(node, _PERIOD_S, self._publish)

    def describe(self, segmenter: Segmenter | None) -> None:
        """Keep what is said of the model with every report; None once it is unloaded."""
        self._model = model_in_use(segmenter) if segmenter else {}

    def begin(self) -> None:
        """Note that the worker took a frame."""
        self._busy_since_s = time.monotonic()

    def end(self) -> None:
        """Note that the worker is done with it."""
        self._busy_since_s = None

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
    ) -> dict[str, float | None]:
        """Take the figures of a published frame; called by the worker.

        Returns:
            The same, and ``pipeline_latency_ms``, for ``~/debug/``.
        """
        self._times = {
            'processing_time_ms': processing_time_ms,
            'preprocess_time_ms': preprocess_time_ms,
            'inference_time_ms': inference_time_ms,
            'postprocess_time_ms': postprocess_time_ms,
            'publish_time_ms': publish_time_ms,
        }
        if processing_time_ms <= self._limits().warn_processing_time_ms:
            self._slow_since_s = None
        elif self._slow_since_s is None:
            self._slow_since_s = time.monotonic()
        age_s = stamp_age_s(self._node.get_clock(), stamp)
        self._latency_ms = None if age_s is None else age_s * 1e3
        return {**self._times, 'pipeline_latency_ms': self._latency_ms}

    def _publish(self) -> None:
        counters = self._mailbox.counters
        delay_ms = self._consecutive_delay_ms()
        values = {
            **self._model,
            'is_processing_time_ms_in_expected_range': str(self._slow_since_s is None),
            'consecutive_processing_delay_ms': f'{delay_ms:.3f}',
            **{key: f'{ms:.3f}' for key, ms in self._times.items()},
            **{key: str(count) for key, count in dataclasses.asdict(counters).items()},
            'stale': str(self._stale),
        }
        if (latency_ms := self._latency_ms) is not None:
            values['last_stamp_age_ms'] = f'{latency_ms:.3f}'
        status = DiagnosticStatus(
            name=f'{self._node.get_fully_qualified_name().strip("/")}: segmentation',
            hardware_id=self._model.get('device', ''),
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
        newly_rejected = counters.rejected - self._rejected
        self._rejected = counters.rejected
        status.level, status.message = self._judge(newly_rejected, delay_ms, latency_ms)
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _consecutive_delay_ms(self) -> float:
        since = self._slow_since_s
        return 0.0 if since is None else (time.monotonic() - since) * 1e3

    def _judge(
        self, newly_rejected: int, delay_ms: float, latency_ms: float | None
    ) -> tuple[bytes, str]:
        """The worst of what can be said: level and message."""
        if not self._model:
            return _WARN, 'not configured'
        if not self.enabled:
            return _OK, 'disabled'
        limits, latency_ms = self._limits(), latency_ms or 0.0
        busy_since = self._busy_since_s
        busy_s = 0.0 if busy_since is None else time.monotonic() - busy_since
        findings = (
            (busy_s > limits.error_stalled_s, _ERROR, f'a frame is in work for {busy_s:.0f} s'),
            (
                delay_ms > limits.error_consecutive_delay_ms,
                _ERROR,
                f'every frame took too long for {delay_ms / 1e3:.1f} s',
            ),
            (
                0 < limits.error_latency_ms < latency_ms,
                _ERROR,
                f'labels are {latency_ms:.0f} ms old',
            ),
            (bool(self.complaint), _WARN, self.complaint),
            (newly_rejected > 0, _WARN, f'{newly_rejected} frames rejected in the last second'),
            (self._slow_since_s is not None, _WARN, 'the last frame took too long'),
            (
                0 < limits.warn_latency_ms < latency_ms,
                _WARN,
                f'labels are {latency_ms:.0f} ms old',
            ),
            (not self._times, _OK, 'ready'),
        )
        for applies, level, message in findings:
            if applies:
                return level, message
        return _OK, 'segmenting'
