"""How fast a node may be fed: so that it is idle, and so that it just keeps up."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.contestant import LABEL_MASK, Contestant
from bench.rig import Rig, Stream

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_IDLE_RATE_HZ = 20.0
_MIN_FRAMES = 3
_FIRST_LOOK_HZ = 2.0
_STEP = 1.25  # between the rates of the search for the peak
_SEARCH_STEPS = 8
_BISECTIONS = 2


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
    rate_hz = _FIRST_LOOK_HZ
    while True:
        look = rig.stream(contestant, size_hw, rate_hz, _MIN_FRAMES)
        if not look.labels_ms:
            raise TimeoutError(f'{contestant.name} answers no frames at {rate_hz:.1f} Hz')
        pace = Pace(max(1.0, statistics.median(look.labels_ms)))
        if pace.work_ms * rate_hz <= 1e3:  # one frame did not wait for another
            return pace
        rate_hz /= 2


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
