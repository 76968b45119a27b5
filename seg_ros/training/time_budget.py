"""A run within a number of minutes: how far a stage has come is told by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

# What is kept for report and model folder: a share of the budget, up to some minutes, and this
# many times the duration of a validation, which each of them needs once.
RESERVED_SHARE, MAX_RESERVED_S = 0.15, 180.0
RESERVED_VALIDATIONS = 3


class TimeBudget:
    """Wall time of a run, divided among its stages.

    Time before the first step counts, and so does that of validations. What is left for training
    is divided by the stages' shares; a stage may begin late, and then has less.

    Args:
        minutes: Of the whole run.
        shares: Work of each stage, in any unit.
        spent_s: What earlier sessions of the run took.
        began_s: How much of it had passed at the first step; 0 before.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        minutes: float,
        shares: Sequence[float],
        *,
        spent_s: float = 0.0,
        began_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._shares = 60 * minutes, [each / sum(shares) for each in shares]
        self._reserved = min(RESERVED_SHARE * self._seconds, MAX_RESERVED_S)
        self._validation_s = 0.0
        self.began_s = began_s
        self._clock = clock
        self._start = clock() - spent_s

    @property
    def spent_s(self) -> float:
        """Seconds of the budget that have passed."""
        return self._clock() - self._start

    @property
    def left_s(self) -> float:
        """Seconds of the budget that are left, not below 0."""
        return max(0.0, self._seconds - self.spent_s)

    def begin(self) -> None:
        """The first step comes now, if it has not come in an earlier session."""
        self.began_s = self.began_s or self.spent_s

    def note_validation(self, seconds: float) -> None:
        """Take how long a validation took, so that enough time is kept for the end."""
        self._validation_s = max(self._validation_s, seconds)

    def progress(self, stage: int) -> float:
        """How far a stage has come: 0 at its first step, 1 when its time is over."""
        kept = self._reserved + RESERVED_VALIDATIONS * self._validation_s
        usable = max(self._seconds - kept - self.began_s, 0.0)
        start = self.began_s + usable * sum(self._shares[:stage])
        length = usable * self._shares[stage]
        if not length:
            return 1.0
        return min(max((self.spent_s - start) / length, 0.0), 1.0)
