"""The ground as each pixel sees it: carpet, painted lines and the floor around them.

Pixels are followed to the ground in closed form, so lines are as sharp as the camera's own
resolution and their labels exact, whatever the lens.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seg_ros.scenes.labels import BACKGROUND, FIELD, LINE
from seg_ros.scenes.pitch import Pitch
from seg_ros.scenes.textures import noise_tile

LINE_COVERAGE = 0.4  # share of a pixel's patch of ground that makes it a line
_FAR_M = 60.0
_FIBRE_M, _MACRO_M, _STAIN_M = 0.005, 0.03, 0.02  # metres per texel of the noise tiles


@dataclass(frozen=True)
class GroundPoints:
    """Where pixels meet the ground z = 0.

    Attributes:
        x: (H, W) float32, metres; 0 where ``valid`` is not.
        y: As ``x``.
        width_x: (H, W) float32, size of the pixel's patch along x, metres, above 0.
        width_y: As ``width_x``, along y.
        valid: (H, W) bool, whether the pixel looks down onto the ground nearer than 60 m.
    """

    x: np.ndarray
    y: np.ndarray
    width_x: np.ndarray
    width_y: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True)
class Carpet:
    """Artificial grass and its lines.

    Attributes:
        color: RGB of the grass, 0 to 1.
        fibre: Contrast of the fibres.
        stretch: Elongated fibres in place of round grain.
        macro: Contrast of large uneven areas.
        hue_shift: RGB of what is added in the uneven areas, times ``macro``.
        stripes: Contrast of mown stripes.
        stripe_m: Width of a stripe.
        seam_m: Distance of the carpet's seams along y; 0 for none.
        sheen: Brightening towards the horizon.
        line_color: RGB of the paint.
        wear: How much of the paint has gone, 0 to 1.
        wobble: How far lines lie off their place, metres.
        turn: Direction of the fibres, radians.
        seed: Place of the noise tiles.
    """

    color: tuple[float, float, float]
    fibre: float = 0.15
    stretch: bool = False
    macro: float = 0.08
    hue_shift: tuple[float, float, float] = (0.5, 0.3, 0.0)
    stripes: float = 0.0
    stripe_m: float = 0.5
    seam_m: float = 0.0
    sheen: float = 0.1
    line_color: tuple[float, float, float] = (0.9, 0.9, 0.88)
    wear: float = 0.1
    wobble: float = 0.0
    turn: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Floor:
    """What lies around the carpet.

    Attributes:
        color: RGB, 0 to 1.
        contrast: Of its pattern.
        tile_m: Side of its tiles; 0 for none.
        mirror: Share of the surroundings that it reflects.
    """

    color: tuple[float, float, float]
    contrast: float = 0.1
    tile_m: float = 0.0
    mirror: float = 0.0


def ground_points(rays: np.ndarray, position: np.ndarray) -> GroundPoints:
    """Follow pixels to the ground.

    Args:
        rays: (H, W, 3) float32 directions in the world, of any length.
        position: (3,) of the camera, metres, above the ground.

    Returns:
        The points where they arrive.
    """
    height = np.float32(position[2])
    drop = -rays[..., 2]
    valid = drop > np.maximum(1e-4, height / _FAR_M * np.hypot(rays[..., 0], rays[..., 1]))
    scale = np.where(valid, height / np.where(valid, drop, 1), 0).astype(np.float32)
    x = rays[..., 0] * scale
    y = rays[..., 1] * scale
    widths = []
    for plane in (x, y):
        along = np.abs(np.diff(plane, axis=1, append=plane[:, -1:]))
        along[:, -1] = along[:, -2]
        down = np.abs(np.diff(plane, axis=0, append=plane[-1:]))
        down[-1] = down[-2]
        widths.append(np.clip(along + down, 1e-5, 4.0, dtype=np.float32))
    x += np.float32(position[0])
    y += np.float32(position[1])
    return GroundPoints(x, y, widths[0], widths[1], valid)


def paint_ground(
    points: GroundPoints, pitch: Pitch, carpet: Carpet, floor: Floor
) -> tuple[np.ndarray, np.ndarray]:
    """Colours and labels of the ground.

    Args:
        points: Of any shape (H, W).
        pitch: Its markings.
        carpet: Its grass.
        floor: What lies beyond.

    Returns:
        (H, W, 3) float32 albedo, 0 to 1, and (H, W) uint8 labels: line, field or background.
    """
    shift_x, shift_y = _wobble(points, carpet)
    covered = pitch.line_coverage(shift_x, shift_y, points.width_x, points.width_y)
    inside = pitch.on_carpet(points.x, points.y) & points.valid
    labels = np.where(covered > LINE_COVERAGE, np.uint8(LINE), np.uint8(FIELD))
    labels[~inside] = BACKGROUND
    albedo = _grass(points, carpet)
    paint = covered * (1 - _worn(points, carpet))
    for channel, value in enumerate(carpet.line_color):
        plane = albedo[..., channel]
        # grass shows between the painted fibres, so the paint keeps some of its texture
        plane += paint * (value * (0.85 + 0.15 * plane / max(carpet.color[channel], 0.05)) - plane)
    outside = ~inside
    if outside.any():
        albedo[outside] = _floor_color(points, floor)[outside]
    return np.clip(albedo, 0, 1.2, out=albedo), labels


def _sample(
    seed: int, x: np.ndarray, y: np.ndarray, step: float, wavelength: float, stretch: float = 1.0
) -> np.ndarray:
    tile = noise_tile(seed, 512, wavelength, stretch)
    mapped = (x * np.float32(1 / step), y * np.float32(1 / step))
    return np.asarray(
        cv2.remap(tile, *mapped, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32
    )


def _wobble(points: GroundPoints, carpet: Carpet) -> tuple[np.ndarray, np.ndarray]:
    if carpet.wobble <= 0:
        return points.x, points.y
    shifted = []
    for index, plane in enumerate((points.x, points.y)):
        shift = _sample(40 + index, points.x + carpet.seed, points.y, 0.03, 30)
        shifted.append(plane + np.float32(carpet.wobble) * shift)
    return shifted[0], shifted[1]


def _grass(points: GroundPoints, carpet: Carpet) -> np.ndarray:
    c, s = np.float32(np.cos(carpet.turn)), np.float32(np.sin(carpet.turn))
    x, y = c * points.x - s * points.y, s * points.x + c * points.y
    patch = np.sqrt(points.width_x * points.width_y)
    offset = np.float32(1.7 * carpet.seed)
    fibre = _sample(1 if carpet.stretch else 2, x + offset, y, _FIBRE_M, 1.6,
                    4.0 if carpet.stretch else 1.0)  # fmt: skip
    fibre /= 1 + patch / np.float32(0.02)
    coarse = _sample(3, x, y + offset, _STAIN_M, 2.5)
    coarse /= 1 + patch / np.float32(0.12)
    macro = _sample(4, x + offset, y + offset, _MACRO_M, 24)
    tone = 1 + np.float32(carpet.fibre) * (fibre + 0.6 * coarse)
    if carpet.stripes > 0:
        wave = np.sin(points.x * np.float32(np.pi / carpet.stripe_m))
        tone += np.float32(carpet.stripes) * np.clip(4 * wave, -1, 1)
    if carpet.seam_m > 0:
        gap = np.abs((points.y / np.float32(carpet.seam_m)) % 1 - 0.5) * np.float32(carpet.seam_m)
        tone *= 1 - 0.35 * np.clip(1.5 - gap / np.maximum(points.width_y, 0.006), 0, 1) / (
            1 + points.width_y / 0.02
        )
    far = np.clip(patch / np.float32(0.03), 0, 1) * np.float32(carpet.sheen)
    uneven = np.float32(carpet.macro) * macro
    albedo = np.empty((*points.x.shape, 3), np.float32)
    for channel, value in enumerate(carpet.color):
        plane = tone * np.float32(value)
        plane *= 1 + uneven * np.float32(0.6 + carpet.hue_shift[channel])
        plane += far * np.float32(0.35 * (0.4 + value))
        albedo[..., channel] = plane
    return albedo


def _worn(points: GroundPoints, carpet: Carpet) -> np.ndarray:
    if carpet.wear <= 0:
        return np.zeros_like(points.x)
    large = _sample(5, points.x + carpet.seed, points.y, 0.02, 10)
    small = _sample(6, points.x, points.y + carpet.seed, 0.008, 2)
    small /= 1 + np.sqrt(points.width_x * points.width_y) / np.float32(0.03)
    gone = np.float32(carpet.wear) * (1 + 0.5 * large + 0.5 * small)
    return np.clip(gone, 0, 0.85)


def _floor_color(points: GroundPoints, floor: Floor) -> np.ndarray:
    tone = 1 + np.float32(floor.contrast) * _sample(7, points.x, points.y, 0.02, 12)
    if floor.tile_m > 0:
        for plane, width in ((points.x, points.width_x), (points.y, points.width_y)):
            gap = np.abs((plane / np.float32(floor.tile_m)) % 1 - 0.5) * np.float32(floor.tile_m)
            tone *= 1 - 0.4 * np.clip(1.5 - gap / np.maximum(width, 0.008), 0, 1) / (
                1 + width / 0.05
            )
    return np.asarray(tone[..., None] * np.array(floor.color, np.float32))
