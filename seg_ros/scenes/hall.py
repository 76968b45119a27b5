"""What stands around a pitch: boards, walls, furniture and people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from seg_ros.scenes.figures import figure_parts, random_person, random_posture
from seg_ros.scenes.props import board, clutter, table

if TYPE_CHECKING:
    from seg_ros.scenes.camera import Camera
    from seg_ros.scenes.parts import Part
    from seg_ros.scenes.pitch import Pitch


def random_hall(rng: np.random.Generator, pitch: Pitch, camera: Camera) -> list[Part]:
    """Boards, walls, furniture and people around the carpet."""
    edge = np.array([pitch.length, pitch.width]) / 2 + pitch.border
    parts: list[Part] = []
    boards = rng.random() < 0.5
    board_height = float(rng.uniform(0.25, 1.1))
    plain = rng.random() < 0.4
    walls = rng.random() < 0.55
    for axis, sign in ((0, 1), (0, -1), (1, 1), (1, -1)):
        outward = np.zeros(2)
        outward[axis] = sign
        along = outward[::-1]
        yaw = float(np.arctan2(-outward[1], -outward[0]))
        middle = outward * edge[axis]
        length = 2 * float(edge[1 - axis])
        if boards and rng.random() < 0.85:
            parts += _row_of_boards(
                rng, middle + outward * 0.05, along, length, board_height, yaw, plain
            )
        if walls and rng.random() < 0.8:
            gap = float(rng.choice([0.03, 0.4, 1.5, 3.0]))
            high = float(rng.uniform(1.5, 4.0))
            wall = board(
                rng, middle + outward * (gap + 0.1), yaw, (length + 2 * gap, high), plain=True
            )
            parts.append(wall)
            for _ in range(int(rng.integers(0, 5))):
                size = (float(rng.uniform(0.4, 2.0)), float(rng.uniform(0.5, 2.2)))
                shift = along * float(rng.uniform(-0.5, 0.5)) * length
                lift = float(rng.choice([0.0, 0.6, 1.1]))
                parts.append(
                    board(rng, middle + outward * (gap + 0.06) + shift, yaw, size, lift=lift)
                )
        parts += _bystanders(rng, middle, outward, along, length, camera)
    return parts


def _row_of_boards(
    rng: np.random.Generator,
    middle: np.ndarray,
    along: np.ndarray,
    length: float,
    high: float,
    yaw: float,
    plain: bool,
) -> list[Part]:
    count = max(1, int(length / rng.uniform(1.0, 4.0)))
    width = length / count
    start = middle - along * (length - width) / 2
    look = rng.bit_generator.state if plain else None
    boards = []
    for index in range(count):
        if look is not None:
            rng.bit_generator.state = look  # every board of a plain row looks the same
        boards.append(
            board(rng, start + along * width * index, yaw, (0.99 * width, high), plain=plain)
        )
    return boards


def _bystanders(
    rng: np.random.Generator,
    middle: np.ndarray,
    outward: np.ndarray,
    along: np.ndarray,
    length: float,
    camera: Camera,
) -> list[Part]:
    parts: list[Part] = []
    for _ in range(int(rng.choice([0, 1, 2, 4, 6], p=[0.3, 0.2, 0.2, 0.2, 0.1]))):
        place = middle + outward * float(rng.uniform(0.1, 1.6))
        place = place + along * float(rng.uniform(-0.5, 0.5)) * length
        if not _ahead(camera, place):
            continue
        yaw = float(np.arctan2(-outward[1], -outward[0])) + float(rng.normal(0, 0.6))
        kind = rng.random()
        if kind < 0.55:
            figure = random_person(rng)
            added = figure_parts(figure, random_posture(rng, person=True), place, yaw)
        elif kind < 0.75:
            added = table(rng, place + outward * 0.5, yaw)
        else:
            added = clutter(rng, place, yaw)
        for part in added:
            part.shadow = False
        parts += added
    return parts


def _ahead(camera: Camera, place: np.ndarray) -> bool:
    offset = place - camera.position[:2]
    forward = camera.rotation[:2, 2]
    side = float(np.linalg.norm(forward)) * float(np.linalg.norm(offset))
    return bool(offset @ forward > 0.25 * side - 0.5)
