"""Everything on and around a pitch that is no figure: ball, goals, boards, furniture."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from seg_ros.scenes.labels import BACKGROUND, BALL, GOAL
from seg_ros.scenes.parts import UPRIGHT, Color, Part, Shape, grey, limb, tilt, turn, vivid
from seg_ros.scenes.textures import NUM_BOARDS, ball_textures

if TYPE_CHECKING:
    from seg_ros.scenes.pitch import Pitch

BALL_RADII = (0.07, 0.0745, 0.09, 0.1, 0.11)
"""Sizes 1 to 5: circumferences of 43, 47, 57, 63 and 69 cm."""

_COMMON = {
    'ball_classic': 5.0,
    'ball_telstar': 4.0,
    'ball_star_edges': 4.0,
    'ball_stars_blue': 2.0,
}
_PLAIN: tuple[Color, ...] = (
    (1.0, 0.4, 0.05),
    (0.9, 0.1, 0.1),
    (0.95, 0.85, 0.1),
    (0.9, 0.8, 0.2),
    (0.85, 0.1, 0.3),
    (1.0, 0.55, 0.1),
)


def random_ball(rng: np.random.Generator, place: np.ndarray, lift: float = 0.0) -> Part:
    """A ball of a size 1 to 5: plain or with a pattern.

    Args:
        rng: Draws size, pattern, colour and rotation.
        place: (x, y), metres.
        lift: Gap between ground and ball, metres.

    Returns:
        The ball.
    """
    radius = BALL_RADII[int(rng.integers(len(BALL_RADII)))]
    rotation = turn(rng.uniform(0, 7)) @ tilt(rng.uniform(0, 7), 0) @ tilt(rng.uniform(0, 7), 1)
    if rng.random() < 0.25:
        r, g, b = _PLAIN[int(rng.integers(len(_PLAIN)))]
        texture = str(rng.choice(['ball_plain', 'ball_seams', 'ball_used'], p=[0.5, 0.2, 0.3]))
        color: Color = (r, g, b)
    else:
        names = [name for name in ball_textures() if name not in ('ball_plain', 'ball_used')]
        weights = np.array([_COMMON.get(name, 1.0) for name in names])
        texture = str(rng.choice(names, p=weights / weights.sum()))
        shade = float(rng.uniform(0.85, 1.0))
        color = (shade, shade, shade * float(rng.uniform(0.92, 1.0)))
    position = np.array([place[0], place[1], radius + lift])
    gloss = float(rng.uniform(0.0, 0.6))
    return Part('sphere', (radius,) * 3, position, rotation, color, BALL, texture, gloss)


def goal(rng: np.random.Generator, pitch: Pitch, side: int) -> list[Part]:
    """Posts, bar, frame and net at x = ``side`` * length / 2."""
    line = side * pitch.length / 2
    half, high, radius = pitch.goal_width / 2, pitch.goal_height, pitch.post_radius
    back = line + side * pitch.goal_depth
    pick = rng.random()
    white: Color = (0.93, 0.93, 0.92)
    color: Color = white if pick < 0.8 else ((0.95, 0.8, 0.1) if pick < 0.92 else (0.1, 0.25, 0.8))
    shape: Shape = 'capsule' if rng.random() < 0.6 else 'box'

    def bar(a: tuple[float, float, float], b: tuple[float, float, float], r: float) -> Part:
        return limb(np.array(a), np.array(b), r, color, GOAL, shape=shape, gloss=0.2)

    parts = [bar((line, -half, high), (line, half, high), radius)]
    top_back = back if rng.random() < 0.5 else line + side * 0.4 * pitch.goal_depth
    for y in (-half, half):
        parts.append(bar((line, y, 0), (line, y, high), radius))
        parts.append(bar((line, y, radius), (back, y, radius), 0.5 * radius))
        parts.append(bar((top_back, y, high), (back, y, radius), 0.4 * radius))
        parts.append(bar((line, y, high), (top_back, y, high), 0.4 * radius))
    parts.append(bar((back, -half, radius), (back, half, radius), 0.5 * radius))
    if rng.random() < 0.8:
        parts += _net(rng, pitch, line, top_back, back)
    return parts


def _net(
    rng: np.random.Generator, pitch: Pitch, line: float, top_back: float, back: float
) -> list[Part]:
    """Strings of the back and the two sides."""
    shade = float(rng.choice([0.9, 0.75, 0.05]))
    mesh = float(rng.uniform(0.1, 0.16))
    half, high = pitch.goal_width / 2, pitch.goal_height
    strings: list[tuple[np.ndarray, np.ndarray]] = []
    strings += [
        (np.array([top_back, y, high]), np.array([back, y, 0.0]))
        for y in np.arange(-half, half + 1e-6, mesh)
    ]
    for z in np.arange(0.0, high, mesh):
        x = back + (top_back - back) * z / high
        strings.append((np.array([x, -half, z]), np.array([x, half, z])))
        strings += [(np.array([line, y, z]), np.array([x, y, z])) for y in (-half, half)]
    for share in np.arange(0.2, 1.0, 0.25):
        x = line + share * (back - line)
        top = high if abs(x - line) < abs(top_back - line) else high * (1 - share)
        strings += [(np.array([x, y, 0.0]), np.array([x, y, top])) for y in (-half, half)]
    color = (shade, shade, shade)
    width = float(rng.uniform(0.002, 0.0045))
    return [_string(a, b, width, color) for a, b in strings]


def _string(a: np.ndarray, b: np.ndarray, width: float, color: Color) -> Part:
    part = limb(a, b, width, color, GOAL, shape='box', gloss=0.0)
    part.shadow = False
    return part


def board(
    rng: np.random.Generator,
    foot: np.ndarray,
    yaw: float,
    size: tuple[float, float],
    *,
    lift: float = 0.0,
    plain: bool = False,
) -> Part:
    """An upright board, door, poster or wall.

    Args:
        rng: Draws picture and colour.
        foot: (x, y) of the middle of its lower edge, metres.
        yaw: Where its face looks, radians.
        size: (width, height), metres.
        lift: Height of the lower edge.
        plain: Without a picture.
    """
    width, height = size
    axes = turn(yaw) @ np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    shade = float(rng.uniform(0.7, 1.0) if rng.random() < 0.7 else rng.uniform(0.03, 0.7))
    color: Color = (shade, shade, shade)
    if rng.random() < 0.25:
        muted = rng.uniform(0.1, 1.0, 3)
        muted += float(rng.uniform(0.2, 0.9)) * (muted.mean() - muted)
        r, g, b = muted.tolist()
        color = (r, g, b)
    texture = '' if plain else f'board_{int(rng.integers(NUM_BOARDS))}'
    middle = np.array([foot[0], foot[1], lift + height / 2])
    half = (width / 2, height / 2, 0.02)
    return Part('box', half, middle, axes, color, BACKGROUND, texture, 0.05, 0.0, height < 1.2)


def table(rng: np.random.Generator, place: np.ndarray, yaw: float) -> list[Part]:
    """A table with a few things on it."""
    axes = turn(yaw)
    here = np.array([place[0], place[1], 0.0])
    length, depth, high = rng.uniform(0.6, 1.0), rng.uniform(0.3, 0.45), rng.uniform(0.65, 0.8)
    shade = float(rng.uniform(0.2, 0.95))
    color: Color = (shade, 0.9 * shade, 0.8 * shade)
    parts = [
        Part('box', (depth, length, 0.02), here + np.array([0, 0, high]), axes, color, BACKGROUND)
    ]
    for x in (-1, 1):
        for y in (-1, 1):
            leg = here + axes @ [0.9 * x * depth, 0.9 * y * length, high / 2]
            parts.append(Part('box', (0.02, 0.02, high / 2), leg, axes, (0.2,) * 3, BACKGROUND))
    for _ in range(int(rng.integers(1, 5))):
        size = rng.uniform(0.04, 0.16, 3)
        offset = [rng.uniform(-0.7, 0.7) * depth, rng.uniform(-0.8, 0.8) * length, high + size[2]]
        parts.append(_crate(rng, here + axes @ offset, axes, size))
    return parts


def clutter(rng: np.random.Generator, place: np.ndarray, yaw: float) -> list[Part]:
    """Boxes, cases, poles and round things on the floor."""
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        size = rng.uniform(0.08, 0.5, 3)
        where = np.array([*(place + rng.normal(0, 0.35, 2)), size[2]])
        parts.append(_crate(rng, where, turn(yaw + rng.normal(0, 0.4)), size))
    if rng.random() < 0.4:
        high = float(rng.uniform(0.8, 3.0))
        r, g, b = rng.uniform(0, 1, 3).tolist()
        start = np.array([place[0], place[1], 0.0])
        width = float(rng.uniform(0.015, 0.12))
        parts.append(
            limb(
                start,
                start + np.array([0, 0, high]),
                width,
                (r, g, b),
                BACKGROUND,
                shape='cylinder',
            )
        )
    if rng.random() < 0.25:
        radius = float(rng.uniform(0.06, 0.35))
        shade = float(rng.uniform(0.1, 0.9))
        where = np.array([*(place + rng.normal(0, 0.5, 2)), radius])
        parts.append(Part('sphere', (radius,) * 3, where, UPRIGHT, (shade,) * 3, BACKGROUND))
    return parts


def litter(rng: np.random.Generator, place: np.ndarray) -> list[Part]:
    """What lies on a carpet and is neither ball nor line: cables, caps, tape, paper, shoes."""
    pick = rng.random()
    color = grey(rng, 0.7, 1.0) if pick < 0.5 else grey(rng, 0.02, 0.4)
    if pick > 0.75:
        color = vivid(rng)
    axes = turn(float(rng.uniform(-np.pi, np.pi)))

    def lying(
        shape: Shape, size: tuple[float, float, float], rotation: np.ndarray, high: float
    ) -> list[Part]:
        middle = np.array([place[0], place[1], high])
        return [Part(shape, size, middle, rotation, color, BACKGROUND, '', 0.25)]

    kind = int(rng.integers(6))
    r, half = float(rng.uniform(0.03, 0.12)), float(rng.uniform(0.015, 0.15))
    if kind == 0:  # a cable
        bends = np.cumsum(rng.normal(0, 0.25, (5, 2)), axis=0) + place
        ends = [np.array([x, y, 0.006]) for x, y in bends]
        return [limb(a, b, 0.006, color, BACKGROUND) for a, b in pairwise(ends)]
    if kind == 1:  # a cap or a helmet
        return lying('ellipsoid', (r, 0.8 * r, 0.5 * r), axes, 0.2 * r)
    if kind == 2:  # a cup or a roll of tape, upright
        return lying('cylinder', (0.6 * r, 0.6 * r, half / 2), axes, half / 2)
    if kind == 3:  # a bottle or a can on its side
        return lying('cylinder', (0.5 * r, 0.5 * r, half), axes @ tilt(np.pi / 2, 0), 0.5 * r)
    if kind == 4:  # paper or a book
        return lying('box', (2 * r, half + 0.05, 0.006), axes, 0.006)
    return lying('ellipsoid', (0.14, 0.05, 0.045), axes, 0.035)  # a shoe


def _crate(
    rng: np.random.Generator, where: np.ndarray, axes: np.ndarray, size: np.ndarray
) -> Part:
    r, g, b = rng.uniform(0, 1, 3).tolist()
    color: Color = (r, g, b)
    if rng.random() < 0.6:
        grey = float(rng.uniform(0.03, 0.8))
        color = (grey, grey, grey)
    texture = f'cloth_{int(rng.integers(4))}' if rng.random() < 0.5 else ''
    half = (float(size[0]), float(size[1]), float(size[2]))
    return Part('box', half, where, axes, color, BACKGROUND, texture)
