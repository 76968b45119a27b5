"""What state the node is in: a machine of its own, fed with events and times, without ROS.

Everything that is told is of now: figures of a frame are kept while frames come, a reason until
something succeeds, the delay of slow frames up to the last of them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ARRIVES_WITHIN_S = 5.0  # of a publisher; drivers announce themselves before they are ready
LOSS_WINDOW_S = 10.0
MANY_LOST, MANY_SHARE = 5, 0.1  # when a publisher was found late, one or two are lost
COMPLAINT_S = 10.0  # for which a refused model is told of a node that is well


class State(enum.Enum):
    """The states, as diagnostics name them."""

    REFUSED = 'refused'
    INACTIVE = 'inactive'
    WAITING = 'waiting for a publisher'
    SILENT = 'matched but nothing arrives'
    LOSSY = 'much is lost on the way'
    RUNNING = 'running'
    SLOW = 'slow'
    STALLED = 'stalled'


class Level(enum.IntEnum):
    """As ``diagnostic_msgs/DiagnosticStatus`` numbers them."""

    OK, WARN, ERROR = 0, 1, 2


@dataclass(frozen=True)
class Limits:
    """Where WARN and ERROR begin; 0 switches a limit on the latency off."""

    warn_processing_time_ms: float = 200.0
    error_consecutive_delay_ms: float = 1000.0
    warn_latency_ms: float = 0.0
    error_latency_ms: float = 0.0
    error_stalled_s: float = 5.0


@dataclass(frozen=True)
class Verdict:
    """State, level and words; ``camera`` is the image topic that it is about, or empty."""

    state: State
    level: Level
    message: str
    camera: str = ''


@dataclass(frozen=True)
class FrameFigures:
    """Of a published frame.

    Attributes:
        times_ms: Step -> milliseconds.
        latency_ms: Age of the stamp on leaving; None where the stamp does not tell.
        invalid_px: Pixels that became void because the net gave no finite number for them.
        end_s: When it left.
        slow_since_s: Start of the first of the slow frames that end with it; None if it was fast.
    """

    times_ms: dict[str, float]
    latency_ms: float | None
    invalid_px: int
    end_s: float
    slow_since_s: float | None

    @property
    def delay_ms(self) -> float:
        """For how long every frame had been too slow by its end."""
        return 0.0 if self.slow_since_s is None else (self.end_s - self.slow_since_s) * 1e3


class CameraCondition:
    """What comes from one camera.

    Args:
        now_s: When it was subscribed; a steady clock, as everywhere here.
    """

    def __init__(self, now_s: float) -> None:
        self._publishers = 0
        self._since_s = now_s  # of having a publisher, or none
        self._last_s: float | None = None
        self._window_s = now_s  # start of the time whose frames are counted
        self._arrived, self._lost = 0, 0
        self._loss = ''  # of the window before

    def see_publishers(self, count: int, now_s: float) -> None:
        """Take the number of its publishers; to be called about once a second."""
        if bool(count) != bool(self._publishers):
            self._since_s = now_s
            if not count:
                self._last_s = None
        self._publishers = count

    def see_frame(self, now_s: float) -> None:
        """Note that a frame came, wanted or not."""
        self._count(now_s, arrived=1)
        self._last_s = now_s

    def see_loss(self, count: int, now_s: float) -> None:
        """Note that frames were lost on their way."""
        self._count(now_s, lost=count)

    def judge(self, topic: str, now_s: float, limits: Limits) -> Verdict:
        """Tell how it is; RUNNING when frames come."""
        if self._last_s is not None:
            quiet_s = now_s - self._last_s
            self._count(now_s)
            if quiet_s <= limits.error_stalled_s:
                if self._loss:
                    return Verdict(State.LOSSY, Level.WARN, f'{topic}: {self._loss}', topic)
                return Verdict(State.RUNNING, Level.OK, 'segmenting', topic)
            text = f'no frame of {topic} came for {quiet_s:.0f} s'
            return Verdict(State.STALLED, Level.ERROR, text, topic)
        waited_s = now_s - self._since_s
        if not self._publishers:
            level = Level.WARN if waited_s > ARRIVES_WITHIN_S else Level.OK
            return Verdict(State.WAITING, level, f'nobody publishes {topic}', topic)
        if waited_s > ARRIVES_WITHIN_S:
            text = f'{topic} has a publisher and nothing arrived for {waited_s:.0f} s'
            return Verdict(State.SILENT, Level.WARN, text, topic)
        return Verdict(State.RUNNING, Level.OK, 'ready', topic)

    def _count(self, now_s: float, arrived: int = 0, lost: int = 0) -> None:
        """Count frames; once the window is over, keep what is to be said of it."""
        if now_s - self._window_s > LOSS_WINDOW_S:
            together = self._arrived + self._lost
            is_much = self._lost >= max(MANY_LOST, MANY_SHARE * together)
            share = f'{self._lost} of {together} frames were lost in {LOSS_WINDOW_S:.0f} s'
            self._loss = share if is_much else ''
            self._window_s, self._arrived, self._lost = now_s, 0, 0
        self._arrived += arrived
        self._lost += lost


class Condition:
    """What state the whole node is in.

    Attributes:
        is_configured: Whether a model is loaded.
        is_active: Whether images are taken.
        is_enabled: Whether the user lets it work.
        has_listener: Whether anybody listens to any output.
        refusal: Why the last transition failed; empty after one that succeeded.
    """

    def __init__(self) -> None:
        self.is_configured = False
        self.is_active = False
        self.is_enabled = True
        self.has_listener = True
        self.refusal = ''
        self.cameras: dict[str, CameraCondition] = {}
        self._complaint = ''
        self._complaint_s = 0.0
        self._busy_since_s: float | None = None
        self._rejected = 0
        self._figures: FrameFigures | None = None

    def activate(self, cameras: Iterable[str], now_s: float) -> None:
        """Begin with cameras of which nothing is known."""
        self.is_active = True
        self.cameras = {topic: CameraCondition(now_s) for topic in cameras}
        self.forget_frames()

    def deactivate(self) -> None:
        """Forget what was true of the active node."""
        self.is_active = False
        self.cameras = {}
        self.forget_frames()

    def forget_frames(self) -> None:
        """Forget the figures of the last frame, as after a change of the model."""
        self._figures = None

    def complain(self, text: str, now_s: float) -> None:
        """Keep what went wrong beside the frames for a while; an empty text takes it back."""
        self._complaint, self._complaint_s = text, now_s

    def begin_frame(self, now_s: float) -> None:
        """Note that the worker took a frame."""
        self._busy_since_s = now_s

    def end_frame(self) -> None:
        """Note that the worker is done with it."""
        self._busy_since_s = None

    def record_frame(
        self,
        now_s: float,
        times_ms: dict[str, float],
        latency_ms: float | None,
        invalid_px: int,
        limits: Limits,
    ) -> None:
        """Take the figures of a published frame, with its ``processing_time_ms``."""
        took_ms, before = times_ms['processing_time_ms'], self.figures(now_s, limits)
        slow_since_s = None
        if took_ms > limits.warn_processing_time_ms:
            slow_since_s = now_s - took_ms / 1e3
            if before is not None and before.slow_since_s is not None:
                slow_since_s = before.slow_since_s
        self._figures = FrameFigures(times_ms, latency_ms, invalid_px, now_s, slow_since_s)

    def figures(self, now_s: float, limits: Limits) -> FrameFigures | None:
        """Figures of the last frame, while they are of now."""
        found = self._figures
        if found is None or not (self.is_active and self.is_enabled):
            return None
        return found if now_s - found.end_s <= limits.error_stalled_s else None

    def judge(self, now_s: float, limits: Limits, rejected: int) -> Verdict:
        """Tell the worst of what can be said.

        Args:
            now_s: Of a steady clock.
            limits: Where WARN and ERROR begin.
            rejected: Frames rejected since the start; those since the last call are told.
        """
        newly_rejected, self._rejected = rejected - self._rejected, rejected
        if self.refusal:
            return Verdict(State.REFUSED, Level.ERROR, self.refusal)
        if not self.is_configured:
            return Verdict(State.INACTIVE, Level.WARN, 'not configured')
        busy = self._judge_engine(now_s, limits)
        if busy is not None:
            return busy
        if not self.is_active:
            return Verdict(State.INACTIVE, Level.OK, 'inactive')
        if not self.is_enabled:
            return Verdict(State.INACTIVE, Level.OK, 'disabled')
        verdicts = [
            *(c.judge(topic, now_s, limits) for topic, c in self.cameras.items()),
            *self._judge_frames(now_s, limits),
            *self._judge_rest(now_s, newly_rejected),
        ]
        worst = max(verdicts, key=lambda verdict: verdict.level)  # the first of the worst
        if worst.level == Level.OK and any(v.state is State.RUNNING for v in verdicts):
            worst = next(v for v in verdicts if v.state is State.RUNNING)
            if not self.has_listener:
                return Verdict(State.RUNNING, Level.OK, 'nobody listens to any output')
        return worst

    def _judge_engine(self, now_s: float, limits: Limits) -> Verdict | None:
        since_s = self._busy_since_s
        if since_s is None or now_s - since_s <= limits.error_stalled_s:
            return None
        text = f'a frame is in work for {now_s - since_s:.0f} s'
        return Verdict(State.STALLED, Level.ERROR, text)

    def _judge_frames(self, now_s: float, limits: Limits) -> Iterator[Verdict]:
        if (last := self.figures(now_s, limits)) is None:
            return
        latency_ms = last.latency_ms or 0.0
        if last.delay_ms > limits.error_consecutive_delay_ms:
            text = f'every frame took too long for {last.delay_ms / 1e3:.1f} s'
            yield Verdict(State.SLOW, Level.ERROR, text)
        for level, limit_ms in (
            (Level.ERROR, limits.error_latency_ms),
            (Level.WARN, limits.warn_latency_ms),
        ):
            if 0 < limit_ms < latency_ms:
                yield Verdict(State.SLOW, level, f'labels are {latency_ms:.0f} ms old')
        if last.slow_since_s is not None:
            yield Verdict(State.SLOW, Level.WARN, 'the last frame took too long')
        if last.invalid_px:
            text = f'the net gave NaN or infinity for {last.invalid_px} pixels of the last frame'
            yield Verdict(State.RUNNING, Level.WARN, f'{text}; they are void')

    def _judge_rest(self, now_s: float, newly_rejected: int) -> Iterator[Verdict]:
        if newly_rejected > 0:
            text = f'{newly_rejected} frames rejected in the last second'
            yield Verdict(State.RUNNING, Level.WARN, text)
        if self._complaint and now_s - self._complaint_s <= COMPLAINT_S:
            yield Verdict(State.RUNNING, Level.WARN, self._complaint)
