"""By what validations are compared: the metric that chooses checkpoints and ends stages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

METRICS = ('mean_iou', 'pixel_accuracy', 'class_accuracy', 'weighted_iou', 'val_loss')
_OF_CLASS = 'iou.'
_UNSCORED = -1e9  # nothing was labelled; JSON knows no infinity


def check_metric(metric: str, classes: Iterable[str] | None = None) -> None:
    """Refuse a metric that there is not.

    Args:
        metric: One of ``METRICS``, or ``iou.<class>``.
        classes: Names of the classes, once they are known.

    Raises:
        ValueError: Naming those that there are.
    """
    if metric in METRICS:
        return
    name = metric.removeprefix(_OF_CLASS)
    if not metric.startswith(_OF_CLASS) or (classes is not None and name not in (*classes,)):
        of_classes = [f'{_OF_CLASS}{each}' for each in classes or ('<class>',)]
        raise ValueError(
            f'metric: {metric!r} is unknown; available: {", ".join([*METRICS, *of_classes])}'
        )


def score_of(entry: Mapping[str, Any], metric: str) -> float:
    """The value by which a validation is compared: the higher, the better.

    Args:
        entry: Of the history, with the results of a validation.
        metric: See ``check_metric``; a loss is taken negative.
    """
    if metric.startswith(_OF_CLASS):
        value = entry['iou'][metric.removeprefix(_OF_CLASS)]
    else:
        value = entry[metric]
    if value is None or math.isnan(value):
        return _UNSCORED
    return -float(value) if metric == 'val_loss' else float(value)


def is_reached(score: float, target: float, metric: str) -> bool:
    """Whether a score of ``score_of`` is as good as a target, 0 for none."""
    if not target:
        return False
    return score >= (-target if metric == 'val_loss' else target)
