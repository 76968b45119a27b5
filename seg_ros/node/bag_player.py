"""Publishes the messages of a bag with their recorded timing."""

from __future__ import annotations

import math
import operator
import threading
import time
from typing import TYPE_CHECKING, Any

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from seg_ros.bags import Bag, BagMessage
from seg_ros.node.message_types import message_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from rclpy.node import Node


_POLL_S = 0.02
_SETTLE_S = 0.5


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
        clock_hz: How often to publish ``/clock`` for consumers with ``use_sim_time``; 0: never.

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
        clock_hz: float = 0.0,
    ) -> None:
        if clock_hz < 0:
            raise ValueError(f'clock_hz is {clock_hz}; give 0 or more')
        self._path, self._clock_hz = path, clock_hz
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
        self._clock = node.create_publisher(Clock, '/clock', 10) if clock_hz else None

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
        if start_s < 0:
            raise ValueError(f'start is {start_s} s; give 0 or more')
        stop = stop or threading.Event()
        count, start = 0, time.monotonic()
        with Bag(self._path) as bag:
            zero_ns = bag.start_ns + round(start_s * 1e9)
            for message in bag.read_messages(self.publishers):
                if message.time_ns < zero_ns:
                    continue
                due_s = start + (message.time_ns - zero_ns) / 1e9 / rate
                if self._wait(due_s, message.time_ns, rate, stop):
                    break
                self._tell_time(message.time_ns)
                if on_published is not None:
                    on_published(message)
                self.publishers[message.topic].publish(message.data)
                count += 1
        return count

    def wait_for_subscribers(
        self,
        timeout_s: float,
        stop: threading.Event,
        expected: Sequence[int] = (1,),
        *,
        on_any_topic: bool = False,
    ) -> bool:
        """Wait until every topic has its subscribers and no more come.

        What goes out before is lost to them. Processes find each other one by one, and on a busy
        machine seconds apart: where several listen, say how many.

        Args:
            timeout_s: How long at most.
            stop: Ends the waiting early when set.
            expected: How many there must be at least, topic by topic; one number is for all.
            on_any_topic: Whether it is enough that one of the topics has them.

        Returns:
            Whether they came.

        Raises:
            ValueError: If ``expected`` does not fit the topics.
        """
        counts = tuple(expected) * (len(self.publishers) if len(expected) == 1 else 1)
        if len(counts) != len(self.publishers):
            raise ValueError(
                f'{len(counts)} numbers of subscribers for {len(self.publishers)} topics; give '
                'one for all, or one for each'
            )
        enough = any if on_any_topic else all
        deadline, settled_s, seen = time.monotonic() + timeout_s, math.inf, [-1]
        while time.monotonic() < min(deadline, settled_s) and not stop.wait(_POLL_S):
            found = [each.get_subscription_count() for each in self.publishers.values()]
            if found != seen:
                seen = found
                is_complete = enough(map(operator.ge, found, counts))
                # A publisher sees a subscriber a little before it is seen by it.
                settled_s = time.monotonic() + _SETTLE_S if is_complete else math.inf
        return settled_s < math.inf

    def wait_for_delivery(self, stop: threading.Event, timeout_s: float = 2.0) -> None:
        """Wait until reliable subscribers have acknowledged everything."""
        deadline = time.monotonic() + timeout_s
        for publisher in self.publishers.values():
            left_s = deadline - time.monotonic()
            if left_s <= 0 or stop.is_set():
                break
            publisher.wait_for_all_acked(Duration(seconds=left_s))

    def _wait(self, due_s: float, due_ns: int, rate: float, stop: threading.Event) -> bool:
        """Wait until a message is due and keep the clock running; true when stopped."""
        while (left_s := due_s - time.monotonic()) > 0:
            if self._clock is None:
                return stop.wait(left_s)
            if stop.wait(min(left_s, 1 / self._clock_hz)):
                return True
            self._tell_time(due_ns - round(max(0.0, due_s - time.monotonic()) * rate * 1e9))
        return stop.is_set()

    def _tell_time(self, time_ns: int) -> None:
        if self._clock is not None:
            clock = Clock()
            clock.clock.sec, clock.clock.nanosec = divmod(time_ns, 10**9)
            self._clock.publish(clock)
