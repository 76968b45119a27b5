"""What is done to labels once the net has given them, on labels of any size."""

from __future__ import annotations

import numpy as np

from seg_ros.geometry import ball_candidates, drivable_edge, field_boundary
from seg_ros.model_card import VOID_ID
from seg_ros.postprocess import Postprocessor
from seg_ros.pseudo_labels import pseudo_labels_of_pitch
from test.conftest import PRIMARY_CLASSES

BALL, FIELD, BACKGROUND = 0, 1, 2
_EVERYTHING = Postprocessor(
    PRIMARY_CLASSES,
    remap={'red': 'ball', 'green': 'field', 'blue': 'background'},
    min_area_px={'all': 5},
    roi=(0, 0, 60, 60),
    self_mask=np.eye(9, dtype=bool),
)


def what_follows_is_wrong(labels_hw: np.ndarray, confidence_hw: np.ndarray | None) -> str | None:
    """Turn every setting on; None where all that comes out fits the image.

    Args:
        labels_hw: (H, W) uint8 ids of ``BALL``, ``FIELD``, ``BACKGROUND`` and void.
        confidence_hw: (H, W) uint8.
    """
    size = labels_hw.shape
    learnt = pseudo_labels_of_pitch(labels_hw, confidence_hw, _EVERYTHING.classes, 0.5)
    done = _EVERYTHING.apply(labels_hw.copy())
    if learnt.shape != size or done.shape != size:
        return f'{learnt.shape} and {done.shape} instead of {size}'
    if not set(np.unique(done)) <= {BALL, FIELD, BACKGROUND, VOID_ID}:
        return f'labels {np.unique(done)}'
    corners = [outline(done, {FIELD}) for outline in (field_boundary, drivable_edge)]
    for ball in ball_candidates(done, BALL, confidence_hw):
        left, top, width, height = ball.box
        corners.append(np.array([[left, top], [left + width - 1, top + height - 1]]))
    points = np.concatenate(corners)
    if points.size and not (points.min() >= 0 and (points < (size[1], size[0])).all()):
        return f'a shape beyond the image: {points.tolist()}'
    return None
