"""The subscribing process: notes when the answers of a node arrive.

Started by ``bench.rig``; reads one JSON command per line while it spins.
"""

from __future__ import annotations

import functools
import queue
import sys
import threading
import time
from collections import defaultdict
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float64

from bench.processes import answer
from seg_ros.node.runtime import stop_on_signals

_POLL_S = 0.02
_DEPTH = 10  # a burst of answers is to be counted in full


class Consumer:
    """Subscribes to what it is told to and notes stamps and arrivals."""

    def __init__(self) -> None:
        self._node = rclpy.create_node('bench_consumer')
        self._subscriptions: dict[str, Any] = {}
        self._arrivals: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._numbers: dict[str, list[float]] = defaultdict(list)
        self._diagnostics: list[dict[str, str]] = []
        self._watched = ''

    @property
    def node(self) -> rclpy.node.Node:
        """The node to spin."""
        return self._node

    def listen(self, images: list[str], numbers: list[str], diagnostics_of: str) -> None:
        """Subscribe to images, to std_msgs/Float64 and to one node's diagnostics, only."""
        kinds: dict[str, type] = dict.fromkeys(images, Image)
        kinds |= {topic: CompressedImage for topic in images if topic.endswith('/compressed')}
        kinds |= dict.fromkeys(numbers, Float64)
        if diagnostics_of:
            kinds['/diagnostics'] = DiagnosticArray
        self._watched = diagnostics_of
        for topic in self._subscriptions.keys() - kinds.keys():
            self._node.destroy_subscription(self._subscriptions.pop(topic))
        for topic in kinds.keys() - self._subscriptions.keys():
            self._subscriptions[topic] = self._node.create_subscription(
                kinds[topic], topic, self._callback(topic, kinds[topic]), QoSProfile(depth=_DEPTH)
            )
        self._clear()

    def waits_for(self) -> list[str]:
        """Topics that nobody publishes yet."""
        return [name for name in self._subscriptions if not self._node.count_publishers(name)]

    def arrived(self, since_ns: int) -> dict[str, int]:
        """Images by topic since the last ``collect`` whose stamp is not older than that."""
        return {
            topic: sum(stamp >= since_ns for stamp, _ in pairs)
            for topic, pairs in self._arrivals.items()
        }

    def collect(self) -> dict[str, Any]:
        """Give what came since the last time, and forget it.

        Returns:
            ``images``: topic -> (stamp, arrival) in ns; ``numbers``: topic -> values;
            ``diagnostics``: the key-value pairs of each report.
        """
        result = {
            'images': dict(self._arrivals),
            'numbers': dict(self._numbers),
            'diagnostics': self._diagnostics,
        }
        self._clear()
        return result

    def _clear(self) -> None:
        self._arrivals, self._numbers = defaultdict(list), defaultdict(list)
        self._diagnostics = []

    def _callback(self, topic: str, kind: type) -> Any:
        if kind is DiagnosticArray:
            return self._on_diagnostics
        if kind is Float64:
            return lambda message: self._numbers[topic].append(message.data)
        return functools.partial(self._on_image, topic)

    def _on_image(self, topic: str, message: Any) -> None:
        arrival_ns = time.time_ns()
        stamp = message.header.stamp
        self._arrivals[topic].append((stamp.sec * 10**9 + stamp.nanosec, arrival_ns))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.partition(':')[0] == self._watched.strip('/'):
                self._diagnostics.append({each.key: each.value for each in status.values})


def main() -> None:
    """Spin, and answer commands until the input ends."""
    stop = stop_on_signals()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    consumer = Consumer()
    commands = {
        'listen': consumer.listen,
        'waits_for': consumer.waits_for,
        'arrived': consumer.arrived,
        'collect': consumer.collect,
    }
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        stop.set()

    threading.Thread(target=read, daemon=True).start()
    executor = SingleThreadedExecutor()
    executor.add_node(consumer.node)
    while not stop.is_set():
        executor.spin_once(timeout_sec=_POLL_S)
        while not lines.empty():
            answer(lines.get(), commands)
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
