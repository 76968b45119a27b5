"""Robots on wheels: the middle-size league."""

from __future__ import annotations

import numpy as np

from seg_ros.scenes.labels import ROBOT
from seg_ros.scenes.parts import Color, Part, Shape, grey, turn, vivid


def wheeled_robot(rng: np.random.Generator, place: np.ndarray, yaw: float) -> list[Part]:
    """A robot of the middle-size league: a dark base, a coloured cover, a camera on top."""
    dark, team = grey(rng, 0.02, 0.15), vivid(rng)
    base_height = float(rng.uniform(0.12, 0.25))
    here = np.array([place[0], place[1], 0.0])
    axes = turn(yaw)

    def part(shape: Shape, size: tuple[float, float, float], z: float, color: Color) -> Part:
        return Part(shape, size, here + np.array([0, 0, z]), axes, color, ROBOT, 'cloth_3', 0.1)

    parts = [
        part('cylinder', (0.26, 0.26, base_height / 2), 0.03 + base_height / 2, dark),
        part('box', (0.17, 0.17, 0.18), base_height + 0.2, team if rng.random() < 0.7 else dark),
        part('cylinder', (0.1, 0.1, 0.12), base_height + 0.42, dark),
        part('cylinder', (0.05, 0.05, 0.06), base_height + 0.56, dark),
        part('ellipsoid', (0.06, 0.06, 0.03), base_height + 0.64, dark),
    ]
    for side in (-1, 1):
        offset = axes @ [0.24, side * 0.12, 0]
        parts.append(
            Part(
                'box',
                (0.09, 0.03, 0.05),
                here + offset + np.array([0, 0, 0.12]),
                axes,
                dark,
                ROBOT,
            )
        )
    return parts
