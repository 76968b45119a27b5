"""Publishes the messages of a bag with their recorded timing."""

from __future__ import annotations

import importlib
import threading
import time
from typing import TYPE_CHECKING, Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from seg_ros.bags import Bag, BagMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from rclpy.node import Node


def message_class(type_name: str) -> type:
    """Import the class of ``package/msg/Name``.

    Raises:
        ValueError: If the package is not installed.
    """
    package, _, name = type_name.split('/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f'message type {type_name} is not installed: {error}') from error


def serialized_qos(*, reliable: bool = True, depth: int = 10) -> QoSProfile:
    """QoS of players and recorders: volatile, with room for a burst."""
    return QoSProfile(
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
    )


class BagPlayer:
    """Plays topics of a bag; the serialised messages go out as they were recorded.

    Args:
        node: Owner of the publishers.
        path: The bag's folder.
        topics: Which topics to play; all whose types are installed when empty.
        reliable: Reliability that is offered.
        with_clock: Whether to publish ``/clock`` for consumers with ``use_sim_time``.

    Raises:
        ValueError: If a topic is not in the bag or its type is not installed.
    """

    def __init__(
        self,
        node: Node,
        path: Path | str,
        topics: Iterable[str] = (),
        *,
        reliable: bool = True,
        with_clock: bool = False,
    ) -> None:
        self._path = path
        self.publishers: dict[str, Any] = {}
        with Bag(path) as bag:
            names = list(topics)
            chosen = [bag.topic(name) for name in names] or bag.topics.values()
            for topic in chosen:
                try:
                    kind = message_class(topic.type)
                except ValueError as error:
                    if names:
                        raise
                    node.get_logger().warning(f'{topic.name} is not played: {error}')
                    continue
                qos = serialized_qos(reliable=reliable)
                self.publishers[topic.name] = node.create_publisher(kind, topic.name, qos)
        self._clock = node.create_publisher(Clock, '/clock', 10) if with_clock else None

    def play(
        self,
        *,
        rate: float = 1.0,
        start_s: float = 0.0,
        stop: threading.Event | None = None,
        on_published: Callable[[BagMessage], None] | None = None,
    ) -> int:
        """Play the bag once.

        Args:
            rate: Speed; 2 is twice as fast as recorded.
            start_s: Seconds of the bag to leave out at its beginning.
            stop: Ends the playing early when set.
            on_published: Called just before each message goes out.

        Returns:
            Number of messages published.
        """
        if not rate > 0:
            raise ValueError(f'rate is {rate}; give a number above 0')
        stop = stop or threading.Event()
        count, first_ns, start = 0, None, time.monotonic()
        with Bag(self._path) as bag:
            for message in bag.read_messages(self.publishers):
                if first_ns is None:
                    first_ns = message.time_ns
                elapsed_s = (message.time_ns - first_ns) / 1e9 - start_s
                if elapsed_s < 0:
                    continue
                if stop.wait(max(0.0, start + elapsed_s / rate - time.monotonic())):
                    break
                if self._clock is not None:
                    clock = Clock()
                    clock.clock.sec, clock.clock.nanosec = divmod(message.time_ns, 10**9)
                    self._clock.publish(clock)
                if on_published is not None:
                    on_published(message)
                self.publishers[message.topic].publish(message.data)
                count += 1
        return count
