"""Publisher process -> node process -> subscriber process, and what is asked of them.

The stamp of a frame is taken just before it is published, the arrival when the subscriber's
callback begins: latency is what a consumer of the labels experiences.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.contestant import LABEL_MASK, PROCESSING, Contestant
from bench.frames import VGA
from bench.processes import Process, Usage, end_children_on_signals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('ROS_DOMAIN_ID', '87')

_READY_WITHIN_S = 120.0
_PROBE_S = 0.001  # between the cameras of a node
_FIRST_WAIT_S = 0.25
_QUIET_S = 1.5  # without a further answer: none is coming
_QUIET_ANSWERS = 8  # the same in times of an answer


@dataclass(frozen=True)
class Stream:
    """What came of a stream of frames.

    Attributes:
        sent: Frames published, of all cameras.
        rate_hz: Frames per second that really went out, of all cameras.
        latencies_ms: Output -> stamp to callback of every answer, in the order of the stamps.
        numbers: Values of ``debug/processing_time_ms``.
        diagnostics: Reports of the node.
        cpu_s: Processor time that the node took.
        memory: Of the node at the end.
    """

    sent: int
    rate_hz: float
    latencies_ms: dict[str, list[float]]
    numbers: list[float]
    diagnostics: list[dict[str, str]]
    cpu_s: float
    memory: Usage

    @property
    def labels_ms(self) -> list[float]:
        """Latencies of the label mask."""
        return self.latencies_ms[LABEL_MASK]

    @property
    def dropped(self) -> int:
        """Frames without a label mask."""
        return self.sent - len(self.labels_ms)


class Rig:
    """The camera, the consumer and the nodes that were started; a context."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._nodes: dict[str, Process] = {}

    def __enter__(self) -> Rig:
        end_children_on_signals()
        self._camera = self._stack.enter_context(Process('bench.camera', piped=True))
        self._consumer = self._stack.enter_context(Process('bench.consumer', piped=True))
        self._camera.ask('load', size_hw=VGA)  # both are up from here on
        self._consumer.ask('collect')
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def start(self, contestant: Contestant, size_hw: tuple[int, int] = VGA) -> float:
        """Start a node and wait for its first label.

        Returns:
            Seconds from the start of the process to that.

        Raises:
            TimeoutError: If none comes.
        """
        self._listen(contestant, (LABEL_MASK,))
        started_ns = time.time_ns()
        process = self._stack.enter_context(contestant.start())
        self._nodes[contestant.name] = process
        answers = self._probe(contestant, (LABEL_MASK,), size_hw, first_wait_s=1 / 30, longer=1.0)
        return (min(arrival_ns for _, arrival_ns in answers) - started_ns) / 1e9

    def usage(self, contestant: Contestant) -> Usage:
        """What a started node has used."""
        return self._nodes[contestant.name].usage()

    def stream(
        self,
        contestant: Contestant,
        size_hw: tuple[int, int],
        rate_hz: float,
        frames: int,
        *,
        outputs: Sequence[str] = (LABEL_MASK,),
        with_times: bool = False,
    ) -> Stream:
        """Send frames to a node at a rate and gather its answers.

        Args:
            contestant: A node that was started.
            size_hw: Rows and columns of the frames.
            rate_hz: Frames per second and camera.
            frames: Frames per camera.
            outputs: What the consumer subscribes to.
            with_times: Whether to gather the node's own measurement of its times.
        """
        self._listen(contestant, outputs, with_times=with_times)
        answers = self._probe(contestant, outputs, size_hw, first_wait_s=_FIRST_WAIT_S)
        answer_s = max(arrival_ns - stamp_ns for stamp_ns, arrival_ns in answers) / 1e9
        before = self.usage(contestant)
        stamps = self._publish(contestant, size_hw, rate_hz, frames)
        sent = {stamp for each in stamps.values() for stamp in each}
        self._wait_for_answers(
            min(sent), len(sent) * len(outputs), max(_QUIET_S, _QUIET_ANSWERS * answer_s)
        )
        after = self.usage(contestant)
        got = self._consumer.ask('collect')
        latencies = {
            output: [
                (arrival - stamp) / 1e6
                for stamp, arrival in sorted(
                    pair
                    for topic in contestant.topics(output)
                    for pair in got['images'].get(topic, ())
                )
                if stamp in sent
            ]
            for output in outputs
        }
        numbers = [
            v for topic in contestant.topics(PROCESSING) for v in got['numbers'].get(topic, ())
        ]
        span_s = (max(sent) - min(sent)) / 1e9
        return Stream(
            len(sent),
            (len(sent) - 1) / span_s if span_s else 0.0,
            latencies,
            numbers,
            [each for each in got['diagnostics'] if 'inference_time_ms' in each],
            after.cpu_s - before.cpu_s,
            after,
        )

    def _listen(
        self, contestant: Contestant, outputs: Sequence[str], *, with_times: bool = False
    ) -> None:
        self._consumer.ask(
            'listen',
            images=[topic for output in outputs for topic in contestant.topics(output)],
            numbers=contestant.topics(PROCESSING) if with_times else [],
            diagnostics_of=f'/{contestant.name}/segmentation' if with_times else '',
        )

    def _probe(
        self,
        contestant: Contestant,
        outputs: Sequence[str],
        size_hw: tuple[int, int],
        *,
        first_wait_s: float,
        longer: float = 2.0,
    ) -> list[tuple[int, int]]:
        """Send single frames until one was answered on every topic.

        Publishers and subscriptions find each other some time after they are made.

        Args:
            contestant: A node that was started.
            outputs: What the consumer is subscribed to.
            size_hw: Rows and columns of the frames.
            first_wait_s: How long to wait for an answer before the second frame.
            longer: Factor by which the wait grows with every frame.

        Returns:
            Stamp and arrival of every answer in ns; the node is idle again.

        Raises:
            TimeoutError: If they do not come.
        """
        topics = {topic for output in outputs for topic in contestant.topics(output)}
        deadline, wait_s = time.monotonic() + _READY_WITHIN_S, first_wait_s
        silent, tries = topics, 0
        while silent:
            if time.monotonic() > deadline:
                raise TimeoutError(f'nothing on {sorted(silent)} in {_READY_WITHIN_S:.0f} s')
            self.usage(contestant)  # raises where it died
            self._publish(contestant, size_hw, rate_hz=1 / _PROBE_S, frames=1)
            sent, tries = time.monotonic(), tries + 1
            while silent and time.monotonic() - sent < wait_s:
                time.sleep(0.002)
                silent = topics - self._consumer.ask('arrived', since_ns=0).keys()
            wait_s *= longer
        if tries > 1:  # those before may still be in a queue
            self._wait_for_answers(0, tries * len(topics), _QUIET_S)
        images = self._consumer.ask('collect')['images']
        return [pair for pairs in images.values() for pair in pairs]

    def _publish(
        self, contestant: Contestant, size_hw: tuple[int, int], rate_hz: float, frames: int
    ) -> dict[str, list[int]]:
        stamps: dict[str, list[int]] = self._camera.ask(
            'stream', topics=contestant.images(), size_hw=size_hw, rate_hz=rate_hz, frames=frames
        )
        return stamps

    def _wait_for_answers(self, since_ns: int, expected: float, quiet_s: float) -> None:
        last, last_change = -1, time.monotonic()
        while time.monotonic() - last_change < quiet_s:
            count = sum(self._consumer.ask('arrived', since_ns=since_ns).values())
            if count >= expected:
                return
            if count != last:
                last, last_change = count, time.monotonic()
            time.sleep(0.02)
