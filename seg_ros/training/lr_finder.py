"""Smith's learning rate range test: raise the rate until the loss blows up.

Source: Smith, "Cyclical Learning Rates for Training Neural Networks", arXiv:1506.01186, with the
exponential rise and the smoothing that became usual.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch

from seg_ros.training.phases import Stage, build_loss
from seg_ros.training.preparation import Run, batches_of

SMOOTHING = 0.9
DIVERGED = 4.0  # times the best smoothed loss


@dataclass(frozen=True)
class RangeTest:
    """Outcome of a range test.

    Attributes:
        rates: Learning rates that were tried, rising.
        losses: Smoothed loss at each.
        suggestion: Where the loss falls steepest: a good peak rate.
        largest: A tenth of the rate with the smallest loss: a bold peak rate for one cycle.
    """

    rates: list[float]
    losses: list[float]
    suggestion: float
    largest: float


def find_learning_rate(
    run: Run, number: int = 0, *, low: float = 1e-7, high: float = 10.0, steps: int = 100
) -> RangeTest:
    """Run the test on a stage; weights, statistics and random state are as before afterwards.

    Args:
        run: From ``loop.prepare``.
        number: Which stage.
        low: First learning rate.
        high: Last learning rate.
        steps: Steps from one to the other.

    Raises:
        ValueError: If the bounds are wrong or the loss is not finite from the start.
    """
    if not 0 < low < high or steps < 10:
        raise ValueError(
            f'low {low}, high {high}, steps {steps}: need 0 < low < high, steps >= 10'
        )
    net, average = run.model.net, run.model.average
    weights = copy.deepcopy(net.state_dict())
    random_state = torch.get_rng_state()
    run.model.average = None  # the test must not move it
    try:
        return _test(run, number, low, high, steps)
    finally:
        net.load_state_dict(weights)
        run.model.average = average
        torch.set_rng_state(random_state)


def _test(run: Run, number: int, low: float, high: float, steps: int) -> RangeTest:
    criterion = build_loss(run.config.loss, run.survey)
    stage = Stage(run.config, number, run.model, criterion, steps, run.teacher)
    source = batches_of(run, number).read(0, 0)
    rates: list[float] = []
    losses: list[float] = []
    average, best = 0.0, math.inf
    for step in range(steps):
        rate = low * (high / low) ** (step / (steps - 1))
        loss = float(stage.train_step(next(source), 0, rate=rate))
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smooth = average / (1 - SMOOTHING ** (step + 1))
        if not math.isfinite(smooth) or smooth > DIVERGED * best:
            break
        best = min(best, smooth)
        rates.append(rate)
        losses.append(smooth)
    return RangeTest(rates, losses, *suggest(rates, losses))


def suggest(rates: list[float], losses: list[float]) -> tuple[float, float]:
    """Rate of the steepest fall before the minimum, and a tenth of the minimum's rate.

    Raises:
        ValueError: If there are too few values or the loss never falls.
    """
    if len(rates) < 10:
        raise ValueError(
            f'the loss blew up after {len(rates)} steps; start at a lower rate (--low)'
        )
    lowest = min(range(len(losses)), key=losses.__getitem__)
    slopes = [losses[i + 1] - losses[i - 1] for i in range(1, max(2, lowest))]
    steepest = min(range(len(slopes)), key=slopes.__getitem__)
    if slopes[steepest] >= 0:
        raise ValueError('the loss never falls; try a higher end (--high) or more steps')
    return rates[steepest + 1], rates[lowest] / 10
