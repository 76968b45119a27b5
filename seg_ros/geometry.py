"""Shapes that behaviours ask for, taken from labels: balls, the border of the field, the road.

All coordinates are pixels of the label image: (x, y), x to the right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from seg_ros.spots import connected_spots

if TYPE_CHECKING:
    from collections.abc import Collection

_MIN_BALL_AREA_PX = 12
_COLUMN_STEP = 4  # a border is looked for in every fourth column
_MEDIAN_COLUMNS = 9  # of those; takes out dips and peaks of half of that, 18 pixels
_MIN_COLUMN_SHARE = 0.02  # of the image's height that must be ground for a column to count


@dataclass(frozen=True)
class Ball:
    """One spot that may be a ball.

    Attributes:
        center: (x, y) of the smallest circle around it.
        radius_px: Of that circle; for a partly hidden ball nearer the truth than the area.
        box: (left, top, width, height).
        score: 0 to 1: mean confidence times the share of the circle that is filled.
    """

    center: tuple[float, float]
    radius_px: float
    box: tuple[int, int, int, int]
    score: float


def ball_candidates(
    labels_hw: np.ndarray,
    ball_id: int,
    confidence_hw: np.ndarray | None = None,
    *,
    limit: int = 10,
) -> list[Ball]:
    """Find the connected spots of the ball's class.

    Args:
        labels_hw: (H, W) uint8 class ids.
        ball_id: Id of the ball.
        confidence_hw: (H, W) uint8, probability times 255; without it only the shape scores.
        limit: How many to return at most.

    Returns:
        The best ones first. A robot's white head scores lower the less round it is.
    """
    spots, stats = connected_spots(labels_hw, ball_id)
    areas = stats[1:, cv2.CC_STAT_AREA]
    largest = 1 + np.argsort(-areas, kind='stable')[: 4 * limit]
    found = []
    for spot in largest:
        left, top, width, height, area = map(int, stats[spot])
        if area < _MIN_BALL_AREA_PX:
            break
        window = np.s_[top : top + height, left : left + width]
        inside = spots[window] == spot
        outline = cv2.findNonZero(inside.astype(np.uint8))
        (x, y), radius = cv2.minEnclosingCircle(outline)
        radius += 0.5  # from the centres of the outermost pixels to their edges
        score = min(1.0, area / (np.pi * radius**2))
        if confidence_hw is not None:
            score *= float(confidence_hw[window][inside].mean()) / 255
        center = (left + float(x), top + float(y))
        found.append(Ball(center, float(radius), (left, top, width, height), float(score)))
    return sorted(found, key=lambda ball: -ball.score)[:limit]


def field_boundary(labels_hw: np.ndarray, field_ids: Collection[int]) -> np.ndarray:
    """Outline the field: its upper border, closed along the lower edge of the image.

    A field is convex and so is its picture: the border is the convex hull of the upper edges of
    the columns, which bridges robots that stand before it. A running median takes single
    columns out first, as the hull would keep the worst of them.

    Args:
        labels_hw: (H, W) uint8 class ids.
        field_ids: Ids of what lies on the ground: field and lines.

    Returns:
        (N, 2) float32 corners, from the left end of the border to its right end, then along the
        bottom; (0, 2) where no field is seen.
    """
    columns, tops = _upper_edge(labels_hw, field_ids)
    if not len(columns):
        return np.empty((0, 2), np.float32)
    return _closed(_upper_hull(columns, tops), labels_hw.shape[0])


def drivable_edge(labels_hw: np.ndarray, road_ids: Collection[int]) -> np.ndarray:
    """Outline the road ahead: its upper edge column by column, closed along the bottom.

    Args:
        labels_hw: (H, W) uint8 class ids.
        road_ids: Ids of what may be driven on.

    Returns:
        (N, 2) float32 corners as of ``field_boundary``, but not convex: a car on the road is a
        dent.
    """
    columns, tops = _upper_edge(labels_hw, road_ids)
    if not len(columns):
        return np.empty((0, 2), np.float32)
    points = np.stack([columns, tops], axis=1)
    simplified = cv2.approxPolyDP(points[:, None].astype(np.float32), 1.5, closed=False)
    return _closed(simplified[:, 0], labels_hw.shape[0])


def _upper_edge(
    labels_hw: np.ndarray, ground_ids: Collection[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Where the ground ends, per column: (N,) x and (N,) y float32, for columns that have any.

    The row that parts a column best: it has the most ground and the least of anything else
    below it. Specks above and holes below so weigh only what they cover; void weighs nothing.
    """
    height, width = labels_hw.shape
    columns = np.arange(_COLUMN_STEP // 2, width, _COLUMN_STEP)
    weight = np.full(256, -1, np.int32)
    weight[255] = 0
    weight[list(ground_ids)] = 1
    votes = weight[labels_hw[::-1, columns]]  # from the bottom up
    total = np.cumsum(votes, axis=0)
    rows = total.argmax(axis=0)
    enough = total.max(axis=0) >= max(1.0, _MIN_COLUMN_SHARE * height)
    tops = (height - 1 - rows).astype(np.float32)
    columns, tops = columns[enough].astype(np.float32), tops[enough]
    return columns, _running_median(tops)


def _running_median(values: np.ndarray) -> np.ndarray:
    if len(values) < _MEDIAN_COLUMNS:
        return values
    half = _MEDIAN_COLUMNS // 2
    padded = np.pad(values, half, mode='edge')
    windows = np.lib.stride_tricks.sliding_window_view(padded, _MEDIAN_COLUMNS)
    return np.asarray(np.median(windows, axis=1), np.float32)


def _upper_hull(columns: np.ndarray, tops: np.ndarray) -> np.ndarray:
    """Upper convex hull of points that are sorted by column (Andrew 1979): (N, 2) float32."""
    hull: list[tuple[float, float]] = []
    for point in zip(columns.tolist(), tops.tolist(), strict=True):
        while len(hull) > 1 and _turns_down(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return np.array(hull, np.float32)


def _turns_down(
    first: tuple[float, float], middle: tuple[float, float], last: tuple[float, float]
) -> bool:
    """Whether the middle point lies on or below the line of its neighbours (y points down)."""
    across = (middle[0] - first[0]) * (last[1] - first[1])
    return across <= (middle[1] - first[1]) * (last[0] - first[0])


def _closed(border: np.ndarray, height: int) -> np.ndarray:
    bottom = np.array([[border[-1, 0], height - 1], [border[0, 0], height - 1]], np.float32)
    return np.concatenate([border.astype(np.float32), bottom])
