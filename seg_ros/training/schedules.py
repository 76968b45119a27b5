"""Learning rates over a stage, as pure functions of how far it has come."""

from __future__ import annotations

import math
from dataclasses import dataclass

DIV = 25.0  # onecycle starts at peak / DIV (arXiv:1708.07120, fastai's values)
FINAL_DIV = 1e4
RISE = 0.3  # share of the steps in which onecycle rises


@dataclass(frozen=True)
class Schedule:
    """The factor on the peak learning rate; see ``config.ScheduleConfig`` for the values."""

    name: str
    warmup: float
    power: float
    floor: float
    cycles: int

    def factor(self, progress: float) -> float:
        """Factor at ``progress`` of the stage, 0 at its first step and below 1 at its last."""
        if self.name == 'onecycle':
            return _onecycle(progress)
        if progress < self.warmup:
            return max(progress / self.warmup, 1e-3)
        rest = (progress - self.warmup) / (1 - self.warmup)
        if self.name == 'poly':
            shape = (1 - rest) ** self.power
        elif self.name == 'cosine':
            shape = 0.5 * (1 + math.cos(math.pi * rest))
        elif self.name == 'triangular':  # Smith, arXiv:1506.01186: up and down, linearly
            phase = rest * self.cycles % 1
            shape = 1 - abs(2 * phase - 1)
        else:  # constant; plateau has a factor of its own
            shape = 1.0
        return self.floor + (1 - self.floor) * shape

    def momentum(self, progress: float, momentum: float) -> float:
        """Momentum at ``progress``: onecycle moves it against the rate, from .95 to .85."""
        if self.name != 'onecycle':
            return momentum
        height = _between(progress / RISE) if progress < RISE else _between((1 - progress) / 0.7)
        return 0.95 - 0.1 * height


def _onecycle(progress: float) -> float:
    if progress < RISE:
        return 1 / DIV + (1 - 1 / DIV) * _between(progress / RISE)
    end = 1 / (DIV * FINAL_DIV)
    return end + (1 - end) * _between((1 - progress) / (1 - RISE))


def _between(share: float) -> float:
    """Half a cosine from 0 to 1."""
    return 0.5 * (1 - math.cos(math.pi * share))


@dataclass
class Plateau:
    """Lower the rate when the score stops rising.

    Attributes:
        factor: The rate is multiplied by it.
        patience: Validations without progress that are waited for.
        floor: Smallest factor.
        best: Best score so far.
        waited: Validations since then.
        rate: The factor reached.
    """

    factor: float
    patience: int
    floor: float
    best: float = -math.inf
    waited: int = 0
    rate: float = 1.0

    def observe(self, score: float) -> None:
        """Take a validation score; higher is better."""
        if score > self.best:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.rate, self.waited = max(self.floor, self.rate * self.factor), 0
