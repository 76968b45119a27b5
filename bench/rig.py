"""Publisher process -> node process -> subscriber process, and what is asked of them.

The stamp of a frame is taken just before it is published, the arrival when the subscriber's
callback begins: latency is what a consumer of the labels experiences.
"""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from bench.processes import Process, Usage
from seg_ros.node.runtime import ALLOCATOR_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('ROS_DOMAIN_ID', '87')

VGA = (480, 640)
LABEL_MASK = 'label_mask'
PROCESSING = 'debug/processing_time_ms'
_READY_WITHIN_S = 120.0
_PROBE_S = 0.001  # between the cameras of a node
_FIRST_WAIT_S = 0.25
_QUIET_S = 1.5  # without a further answer: none is coming
_QUIET_ANSWERS = 8  # the same in times of an answer
_MAX_IDLE_RATE_HZ = 20.0
_MIN_FRAMES = 3
_FIRST_LOOK_HZ = 4.0
_STEP = 1.25  # between the rates of the search for the peak
_SEARCH_STEPS = 8
_BISECTIONS = 2


@dataclass(frozen=True)
class Contestant:
    """A node under measurement.

    Its topics lie in the namespace ``/<name>``: it takes ``image`` (or what ``cameras`` lists) and
    publishes ``segmentation/<output>``.

    Attributes:
        name: Also its namespace.
        title: What it is, for the reader of the results.
        module: What ``python -m`` takes.
        arguments: Its arguments before ``--ros-args``.
        parameters: ROS parameters.
        outputs: Images that it can publish, ``label_mask`` first.
        environment: Added to the environment.
        cameras: Image topics relative to the namespace -> prefix of their outputs.
    """

    name: str
    title: str
    module: str
    arguments: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = (LABEL_MASK,)
    environment: Mapping[str, str] = field(default_factory=dict)
    cameras: Mapping[str, str] = field(default_factory=lambda: {'image': ''})

    def start(self) -> Process:
        """Start its process."""
        ros = ['--ros-args', '--log-level', 'warn', '-r', f'__ns:=/{self.name}']
        for key, value in self.parameters.items():
            ros += ['-p', f'{key}:={value}']
        return Process(self.module, [*self.arguments, *ros], self.environment)

    def images(self) -> list[str]:
        """Topics to publish images on."""
        return [f'/{self.name}/{topic}' for topic in self.cameras]

    def topics(self, output: str) -> list[str]:
        """Topics of an output, one per camera, in the order of ``images``."""
        return [f'/{self.name}/segmentation/{prefix}{output}' for prefix in self.cameras.values()]


def seg_ros_node(
    name: str,
    title: str,
    model: str,
    *,
    class_names: Sequence[str] = (),
    cameras: int = 1,
    **parameters: str,
) -> Contestant:
    """Describe this package's node, started with the environment of its launch files.

    Args:
        name: Also its namespace.
        title: What it is.
        model: Name or path of the model folder.
        class_names: Of the model, where the masks per class are to be measured.
        cameras: How many it serves.
        parameters: Further ROS parameters.
    """
    masks = tuple(f'mask/{each}' for each in class_names)
    topics = {'image': ''}
    if cameras > 1:
        topics = {f'camera_{index}/image_raw': f'camera_{index}/' for index in range(cameras)}
        listed = ', '.join(f"'{topic}'" for topic in topics)
        parameters['image_topics'] = f'[{listed}]'
    return Contestant(
        name,
        title,
        'seg_ros',
        ('segmentation_node',),
        {'model': model, **parameters},
        (LABEL_MASK, 'confidence', *masks, 'label_mask/compressed', 'color_mask', 'overlay'),
        ALLOCATOR_ENVIRONMENT,
        topics,
    )


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

    def __enter__(self) -> Self:
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


@dataclass(frozen=True)
class Pace:
    """How a node is loaded, from a first look at how long it takes for a frame."""

    work_ms: float

    @property
    def idle_hz(self) -> float:
        """A rate at which every frame finds the node idle."""
        return min(_MAX_IDLE_RATE_HZ, 0.5e3 / self.work_ms)

    def frames(self, rate_hz: float, seconds: float) -> int:
        """Frames that fill some seconds."""
        return max(_MIN_FRAMES, math.ceil(rate_hz * seconds))


def find_pace(rig: Rig, contestant: Contestant, size_hw: tuple[int, int]) -> Pace:
    """Look how long a started node takes for a frame of a size.

    Raises:
        TimeoutError: If it answers none.
    """
    pace = Pace(1e3 / _FIRST_LOOK_HZ)
    for _ in range(2):
        look = rig.stream(contestant, size_hw, pace.idle_hz, 2 * _MIN_FRAMES)
        if not look.labels_ms:
            raise TimeoutError(f'{contestant.name} answers no frames at {pace.idle_hz:.1f} Hz')
        pace = Pace(max(1.0, statistics.median(look.labels_ms)))
    return pace


@dataclass(frozen=True)
class Peak:
    """The highest rate that a node sustains.

    Attributes:
        rate_hz: Frames per second of all cameras, every one answered in time; 0 if none was.
        refused_hz: The lowest rate that was tried and not sustained.
    """

    rate_hz: float
    refused_hz: float


def find_peak(
    rig: Rig,
    contestant: Contestant,
    size_hw: tuple[int, int],
    pace: Pace,
    *,
    outputs: Sequence[str] = (LABEL_MASK,),
    seconds: float,
) -> Peak:
    """Search the highest rate without a dropped frame and without a growing queue."""
    cameras = len(contestant.cameras)
    peak, refused = 0.0, math.inf
    rate_hz = 1e3 / pace.work_ms
    for _ in range(_SEARCH_STEPS):
        bisecting = peak > 0 and refused < math.inf
        if bisecting and (refused / peak <= _STEP ** (1 / 2**_BISECTIONS) + 0.01):
            break
        stream = rig.stream(
            contestant,
            size_hw,
            rate_hz / cameras,
            pace.frames(rate_hz / cameras, seconds),
            outputs=outputs,
        )
        # What the camera could really send counts, not what it was asked for.
        if is_sustained(stream, pace):
            peak = max(peak, stream.rate_hz)
            if stream.rate_hz < 0.95 * rate_hz:
                break  # the camera is at its end
            rate_hz = peak * _STEP if refused == math.inf else math.sqrt(peak * refused)
        else:
            refused = min(refused, rate_hz)
            rate_hz = refused / _STEP if not peak else math.sqrt(peak * refused)
    return Peak(peak, refused if refused < math.inf else 0.0)


def is_sustained(stream: Stream, pace: Pace) -> bool:
    """Whether every frame was answered, and the last ones not later than a frame's work more."""
    tail = stream.labels_ms[-max(1, len(stream.labels_ms) // 4) :]
    return not stream.dropped and statistics.median(tail) <= 2 * pace.work_ms + 5
