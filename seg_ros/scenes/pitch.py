"""Pitches by the rules of the leagues and where their lines are.

Sources: RoboCup Humanoid League rules (kid size 9 x 6 m, adult size 14 x 9 m), Standard Platform
League rules (9 x 6 m), Middle Size League rules (22 x 14 m). The origin is the centre mark, x
runs along the length, y along the width, z up; metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pitch:
    """Size and markings of a pitch; every length in metres.

    Attributes:
        name: League and size.
        length: Between the goal lines, measured to the centres of the lines.
        width: Between the touch lines.
        border: Carpet beyond the lines.
        line_width: Of every line.
        circle_radius: Of the centre circle.
        goal_area: (depth, width); (0, 0) where there is none.
        penalty_area: (depth, width); (0, 0) where there is none.
        penalty_distance: From the goal line to the penalty mark.
        mark_size: Of the penalty and centre marks, across.
        mark_cross: Marks are crosses, else discs.
        goal_width: Between the posts.
        goal_height: Under the bar.
        goal_depth: Of the net.
        post_radius: Of posts and bar.
        corner_radius: Of the corner arcs; 0 where there are none.
    """

    name: str
    length: float
    width: float
    border: float
    line_width: float
    circle_radius: float
    goal_area: tuple[float, float]
    penalty_area: tuple[float, float]
    penalty_distance: float
    mark_size: float
    mark_cross: bool
    goal_width: float
    goal_height: float
    goal_depth: float
    post_radius: float
    corner_radius: float = 0.0

    def on_carpet(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Whether points of the ground belong to the carpet: bool, the shape of ``x``."""
        inside_x = np.abs(x) <= self.length / 2 + self.border
        return np.asarray(inside_x & (np.abs(y) <= self.width / 2 + self.border))

    def line_coverage(
        self, x: np.ndarray, y: np.ndarray, width_x: np.ndarray, width_y: np.ndarray
    ) -> np.ndarray:
        """How much of each pixel's patch of ground is painted.

        The patch is taken as an axis-parallel box, for which the coverage of an axis-parallel line
        is the product of two box integrals. Both goals are the same, so x and y are folded.

        Args:
            x: Ground coordinates of the pixels' centres, float32, any shape, metres.
            y: As ``x``.
            width_x: Size of the pixels' patches along x, metres, above 0.
            width_y: As ``width_x``, along y.

        Returns:
            Coverage 0 to 1, float32, the shape of ``x``.
        """
        half = self.line_width / 2
        fold_x, fold_y = np.abs(x), np.abs(y)
        end_x, end_y = self.length / 2, self.width / 2
        painted = _box(fold_x, width_x, -half, half) * _box(fold_y, width_y, -half, end_y + half)

        def paint(x0: float, x1: float, y0: float, y1: float) -> None:
            covered = _box(fold_x, width_x, x0, x1)
            covered *= _box(fold_y, width_y, y0, y1)
            np.maximum(painted, covered, out=painted)

        paint(end_x - half, end_x + half, -half, end_y + half)
        paint(-half, end_x + half, end_y - half, end_y + half)
        for depth, across in (self.goal_area, self.penalty_area):
            if depth > 0:
                front, side = end_x - depth, across / 2
                paint(front - half, front + half, -half, side + half)
                paint(front - half, end_x, side - half, side + half)
        patch = 0.5 * (width_x + width_y)
        _ring(painted, np.hypot(x, y), patch, self.circle_radius, half)
        if self.corner_radius > 0:
            corner = np.hypot(fold_x - end_x, fold_y - end_y)
            arc = np.zeros_like(painted)
            _ring(arc, corner, patch, self.corner_radius, half)
            np.maximum(painted, arc * (fold_x < end_x) * (fold_y < end_y), out=painted)
        self._paint_marks(painted, (fold_x, fold_y), (width_x, width_y), half)
        return painted

    def _paint_marks(
        self,
        painted: np.ndarray,
        point: tuple[np.ndarray, np.ndarray],
        width: tuple[np.ndarray, np.ndarray],
        half: float,
    ) -> None:
        reach = self.mark_size / 2
        spot = self.length / 2 - self.penalty_distance
        for centre in (0.0, spot):
            if self.mark_cross:
                for long_x, long_y in ((reach, half), (half, reach)):
                    bar = _box(point[0], width[0], centre - long_x, centre + long_x)
                    bar *= _box(point[1], width[1], -long_y, long_y)
                    np.maximum(painted, bar, out=painted)
            else:
                patch = 0.5 * (width[0] + width[1])
                radius = np.hypot(point[0] - centre, point[1])
                np.maximum(painted, _box(radius, patch, -reach, reach), out=painted)


def _box(value: np.ndarray, width: np.ndarray, low: float, high: float) -> np.ndarray:
    """Share of [value - width / 2, value + width / 2] that lies in [low, high]."""
    upper = np.minimum(value + 0.5 * width, np.float32(high))
    upper -= np.maximum(value - 0.5 * width, np.float32(low))
    upper /= width
    return np.clip(upper, 0, 1, out=upper)


def _ring(
    painted: np.ndarray, radius: np.ndarray, width: np.ndarray, middle: float, half: float
) -> None:
    np.maximum(painted, _box(radius, width, middle - half, middle + half), out=painted)


KID_SIZE = Pitch(
    name='humanoid kid size',
    length=9.0,
    width=6.0,
    border=1.0,
    line_width=0.05,
    circle_radius=0.75,
    goal_area=(1.0, 3.0),
    penalty_area=(2.0, 5.0),
    penalty_distance=1.5,
    mark_size=0.1,
    mark_cross=True,
    goal_width=2.6,
    goal_height=1.2,
    goal_depth=0.6,
    post_radius=0.05,
)
ADULT_SIZE = Pitch(
    name='humanoid adult size',
    length=14.0,
    width=9.0,
    border=1.0,
    line_width=0.05,
    circle_radius=1.5,
    goal_area=(1.0, 4.0),
    penalty_area=(3.0, 6.0),
    penalty_distance=2.1,
    mark_size=0.1,
    mark_cross=True,
    goal_width=2.6,
    goal_height=1.8,
    goal_depth=0.6,
    post_radius=0.05,
)
STANDARD_PLATFORM = Pitch(
    name='standard platform',
    length=9.0,
    width=6.0,
    border=0.7,
    line_width=0.05,
    circle_radius=0.75,
    goal_area=(0.6, 2.2),
    penalty_area=(1.65, 4.0),
    penalty_distance=1.3,
    mark_size=0.1,
    mark_cross=True,
    goal_width=1.5,
    goal_height=0.8,
    goal_depth=0.5,
    post_radius=0.05,
)
MIDDLE_SIZE = Pitch(
    name='middle size',
    length=22.0,
    width=14.0,
    border=1.0,
    line_width=0.125,
    circle_radius=2.0,
    goal_area=(0.75, 3.9),
    penalty_area=(2.25, 6.9),
    penalty_distance=3.6,
    mark_size=0.2,
    mark_cross=False,
    goal_width=2.4,
    goal_height=1.0,
    goal_depth=0.6,
    post_radius=0.0625,
    corner_radius=0.75,
)
