"""What is known of a scene against what a net says of it, before its labels are trained on.

A net that is trained on its own labels learns its own mistakes. On a pitch the typical one is a
robot's white head or foot that is taken for a ball, and geometry tells most of them: a ball is
round and lies on the ground.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from seg_ros.model_card import VOID_ID, ClassInfo
from seg_ros.spots import connected_spots

BALL, GROUND, BACKGROUND = 'ball', ('field', 'line'), 'background'

MIN_ROUNDNESS = 0.75  # area over that of the smallest circle around it
MIN_GROUND_SHARE = 0.5  # of what surrounds a ball
MAX_GROUND_SHARE_OF_GHOST = 0.15
_RING_WIDTH = 0.5  # of the radius
_MIN_RING_WIDTH_PX = 3


def pseudo_labels_of_pitch(
    labels_hw: np.ndarray,
    confidence_hw: np.ndarray,
    classes: Sequence[ClassInfo],
    min_confidence: float,
) -> np.ndarray:
    """Labels to train on: those that the net is sure of, with the balls checked.

    What ``check_balls`` takes for background is background however sure the net was of a ball:
    these pixels are what a net has most to learn from.

    Args:
        labels_hw: (H, W) uint8 class ids.
        confidence_hw: (H, W) uint8, probability of the label times 255.
        classes: As ``check_balls`` takes them.
        min_confidence: Probability 0..1 below which a pixel becomes 255 = void.

    Returns:
        (H, W) uint8 class ids, 255 = void.

    Raises:
        ValueError: If a class is missing.
    """
    checked = check_balls(labels_hw, classes)
    corrected = (checked != labels_hw) & (checked != VOID_ID)
    checked[(confidence_hw < min_confidence * 255) & ~corrected] = VOID_ID
    return checked


def check_balls(labels_hw: np.ndarray, classes: Sequence[ClassInfo]) -> np.ndarray:
    """Keep the balls that are round and lie on the ground.

    A patch of ball pixels stays where it is round and the ground surrounds at least half of it.
    It becomes background where next to no ground surrounds it (a head before a wall), and void
    where neither is clear (a foot, a ball behind a foot, a ball at the border of the image).

    Args:
        labels_hw: (H, W) uint8 class ids, 255 = void.
        classes: With ``ball``, ``background`` and at least one of ``field`` and ``line``.

    Returns:
        (H, W) uint8; a copy.

    Raises:
        ValueError: If a class is missing.
    """
    ids = {entry.name: entry.id for entry in classes}
    ground = [ids[name] for name in GROUND if name in ids]
    if BALL not in ids or BACKGROUND not in ids or not ground:
        raise ValueError(
            f'balls are checked against background, field and line; the classes are {list(ids)}'
        )
    checked = labels_hw.copy()
    on_ground = np.isin(labels_hw, ground)
    known = on_ground | (labels_hw == ids[BACKGROUND])
    patch_of, boxes = connected_spots(labels_hw, ids[BALL])
    for number in range(1, len(boxes)):
        window = _window(boxes[number], labels_hw.shape)
        patch = (patch_of[window] == number).astype(np.uint8)
        roundness, ring = _roundness(patch), _ring(patch)
        around = known[window] & ring
        share = on_ground[window][around].mean() if around.any() else 0.0
        if share < MAX_GROUND_SHARE_OF_GHOST:
            checked[window][patch > 0] = ids[BACKGROUND]
        elif share < MIN_GROUND_SHARE or roundness < MIN_ROUNDNESS:
            checked[window][patch > 0] = VOID_ID
    return checked


def _window(box: np.ndarray, size_hw: tuple[int, ...]) -> tuple[slice, slice]:
    """The part of the image that holds a patch and the ring around it."""
    left, top, width, height = (int(value) for value in box[:4])
    margin = _ring_width(max(width, height) / 2) + 1
    rows = slice(max(0, top - margin), min(size_hw[0], top + height + margin))
    return rows, slice(max(0, left - margin), min(size_hw[1], left + width + margin))


def _ring_width(radius_px: float) -> int:
    return max(_MIN_RING_WIDTH_PX, round(_RING_WIDTH * radius_px))


def _roundness(patch: np.ndarray) -> float:
    """Area over that of the smallest circle around the pixels, 0 to 1."""
    contours, _ = cv2.findContours(patch, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    _, radius = cv2.minEnclosingCircle(contours[0])
    # The circle goes through the centres of the outermost pixels.
    return min(1.0, float(patch.sum()) / (math.pi * (radius + 0.5) ** 2))


def _ring(patch: np.ndarray) -> np.ndarray:
    width = _ring_width(math.sqrt(float(patch.sum()) / math.pi))
    # Not by dilation: its time grows with the square of the width, minutes for a strange picture.
    distance = cv2.distanceTransform(1 - patch, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return (patch == 0) & (distance <= width)
