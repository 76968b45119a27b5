"""The pieces that everything on and around a pitch is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Shape = Literal['box', 'sphere', 'ellipsoid', 'capsule', 'cylinder']
Color = tuple[float, float, float]

UPRIGHT = np.eye(3)


@dataclass(slots=True)
class Part:
    """One solid piece.

    Attributes:
        shape: Its geometry.
        size: Half lengths for box and ellipsoid; (radius, radius, half length) for capsule and
            cylinder along z; (radius, radius, radius) for a sphere. Metres.
        position: (3,) of the centre, metres.
        rotation: (3, 3), columns are its axes in the world.
        color: RGB, 0 to 1; multiplies the texture.
        label: Class id as in ``seg_ros.scenes.labels``.
        texture: Name of a texture of ``seg_ros.scenes.textures``, or '' for none.
        gloss: Specular reflection, 0 to 1.
        glow: Light of its own, 0 to 1.
        shadow: Whether it throws one; far things do without, to save time.
    """

    shape: Shape
    size: tuple[float, float, float]
    position: np.ndarray
    rotation: np.ndarray
    color: Color
    label: int
    texture: str = ''
    gloss: float = 0.1
    glow: float = 0.0
    shadow: bool = True


def axes_along(direction: np.ndarray) -> np.ndarray:
    """Rotation whose z axis runs along ``direction`` and whose y axis stays level if it can."""
    dx, dy, dz = direction.tolist()
    length = max(math.sqrt(dx * dx + dy * dy + dz * dz), 1e-9)
    zx, zy, zz = dx / length, dy / length, dz / length
    flat = math.hypot(zx, zy)
    yx, yy = (-zy / flat, zx / flat) if flat > 1e-4 else (0.0, 1.0)
    # x = y cross z, written out: thousands of limbs a second come through here
    return np.array([[yy * zz, yx, zx], [-yx * zz, yy, zy], [yx * zy - yy * zx, 0.0, zz]])


def limb(
    start: np.ndarray,
    end: np.ndarray,
    radius: float,
    color: Color,
    label: int,
    *,
    shape: Shape = 'capsule',
    depth: float | None = None,
    texture: str = '',
    gloss: float = 0.1,
) -> Part:
    """A piece that reaches from one point to another.

    Args:
        start: (3,) metres.
        end: (3,) metres.
        radius: Half of its width, metres.
        color: RGB, 0 to 1.
        label: Class id.
        shape: Its geometry; the long axis is always z.
        depth: Half of its second width for boxes and ellipsoids; ``radius`` when None.
        texture: As in ``Part``.
        gloss: As in ``Part``.

    Returns:
        The part.
    """
    along = end - start
    half = 0.5 * float(np.linalg.norm(along))
    size = (radius if depth is None else depth, radius, half)
    if shape in ('capsule', 'cylinder'):
        size = (radius, radius, half)
    middle = 0.5 * (start + end)
    return Part(shape, size, middle, axes_along(along), color, label, texture, gloss)


def turn(yaw: float) -> np.ndarray:
    """Rotation about the vertical, radians."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def tilt(angle: float, axis: int) -> np.ndarray:
    """Rotation about x (0) or y (1), radians."""
    c, s = np.cos(angle), np.sin(angle)
    if axis == 0:
        return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def grey(rng: np.random.Generator, low: float, high: float) -> Color:
    """A grey with a slight tint, between two brightnesses."""
    value = rng.uniform(low, high)
    r, g, b = np.clip(value + rng.normal(0, 0.025, 3), 0, 1).tolist()
    return r, g, b


def vivid(rng: np.random.Generator) -> Color:
    """A strong colour of any hue."""
    strong, weak = rng.uniform(0.5, 1.0), rng.uniform(0.0, 0.35)
    values = [strong, weak, float(rng.uniform(weak, strong))]
    order = rng.permutation(3)
    r, g, b = (float(values[i]) for i in order)
    return r, g, b
