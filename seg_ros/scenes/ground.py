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
from seg_ros.scenes.textures import sample_noise

LINE_COVERAGE = 0.3
"""Share of a pixel's patch of ground that makes it a line, near the camera."""
MIN_LINE_COVERAGE = 0.1
"""The same where a patch is much longer than a line is wide; see ``line_threshold``."""
_FAR_M = 60.0
_BLOCK = 4  # pixels
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
    x, y, drop = cv2.split(rays)
    np.negative(drop, out=drop)
    steep = np.float32(height / _FAR_M) * cv2.magnitude(x, y)
    valid = drop > np.maximum(steep, np.float32(1e-4), out=steep)
    scale = np.zeros_like(drop)
    np.divide(height, drop, out=scale, where=valid)
    x *= scale
    y *= scale
    widths = (_patch_width(x), _patch_width(y))
    x += np.float32(position[0])
    y += np.float32(position[1])
    return GroundPoints(x, y, *widths, valid)


def _patch_width(plane: np.ndarray) -> np.ndarray:
    """How much a coordinate changes from a pixel to the next along both axes of the image."""
    along, down = np.empty_like(plane), np.empty_like(plane)
    np.subtract(plane[:, 1:], plane[:, :-1], out=along[:, :-1])
    np.subtract(plane[1:], plane[:-1], out=down[:-1])
    along[:, -1], down[-1] = along[:, -2], down[-2]
    np.abs(along, out=along)
    along += np.abs(down, out=down)
    return np.clip(along, 1e-5, 4.0, out=along)


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
        (H, W, 3) float32 albedo, about 0 to 1, and (H, W) uint8 labels: line, field or background.
    """
    covered = _line_coverage(points, pitch, carpet)
    inside = pitch.on_carpet(points.x, points.y) & points.valid
    labels = np.where(covered > line_threshold(points, pitch), np.uint8(LINE), np.uint8(FIELD))
    labels[~inside] = BACKGROUND
    planes = _grass(points, carpet)
    paint = covered * (1 - _worn(points, carpet)) if carpet.wear > 0 else covered
    for plane, value, grass in zip(planes, carpet.line_color, carpet.color, strict=True):
        # grass shows between the painted fibres, so the paint keeps some of its texture
        share = 0.15 * value / max(grass, 0.05)
        np.add(plane, paint * (np.float32(0.85 * value) - np.float32(1 - share) * plane), plane)
    outside = ~inside
    if outside.any():
        tone = _floor_tone(points, floor)
        for plane, value in zip(planes, floor.color, strict=True):
            np.copyto(plane, tone * np.float32(value), where=outside)
    return cv2.merge(planes), labels


def line_threshold(points: GroundPoints, pitch: Pitch) -> np.ndarray:
    """Coverage above which a pixel is called line.

    People who label draw far lines unbroken and at least a pixel wide. A line of width w between
    two patches of length p covers w / 2p of each, so the threshold stays below that.

    Args:
        points: Of the pixels.
        pitch: Its lines.

    Returns:
        The shape of the points, float32.
    """
    patch = np.maximum(points.width_x, points.width_y)
    threshold = np.float32(0.4 * pitch.line_width) / patch
    return np.clip(threshold, MIN_LINE_COVERAGE, LINE_COVERAGE, out=threshold)


def _line_coverage(points: GroundPoints, pitch: Pitch, carpet: Carpet) -> np.ndarray:
    """Coverage by paint, computed in full only near lines."""
    x, y = _wobble(points, carpet)
    reach = 2 * _BLOCK - 1
    near = pitch.line_coverage(
        *(plane[::_BLOCK, ::_BLOCK] for plane in (x, y)),
        *(reach * plane[::_BLOCK, ::_BLOCK] for plane in (points.width_x, points.width_y)),
    )
    blocks = cv2.dilate((near > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    blocks = blocks.repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1)
    close = np.flatnonzero(blocks[: x.shape[0], : x.shape[1]].astype(bool) & points.valid)
    covered = np.zeros(x.shape, np.float32)
    if len(close):
        covered.ravel()[close] = pitch.line_coverage(
            *(plane.ravel()[close] for plane in (x, y, points.width_x, points.width_y))
        )
    return covered


def _coarse_noise(
    seed: int, x: np.ndarray, y: np.ndarray, step: float, wavelength: float
) -> np.ndarray:
    """Noise of large structures only: computed for every fourth pixel."""
    small = sample_noise(seed, x[::_BLOCK, ::_BLOCK], y[::_BLOCK, ::_BLOCK], step, wavelength)
    return np.asarray(cv2.resize(small, x.shape[::-1], interpolation=cv2.INTER_LINEAR))


def _wobble(points: GroundPoints, carpet: Carpet) -> tuple[np.ndarray, np.ndarray]:
    if carpet.wobble <= 0:
        return points.x, points.y
    shifted = []
    for index, plane in enumerate((points.x, points.y)):
        shift = _coarse_noise(40 + index, points.x + carpet.seed, points.y, 0.03, 30)
        shifted.append(plane + np.float32(carpet.wobble) * shift)
    return shifted[0], shifted[1]


def _grass(points: GroundPoints, carpet: Carpet) -> list[np.ndarray]:
    """Red, green and blue of the carpet without its lines."""
    c, s = np.float32(np.cos(carpet.turn)), np.float32(np.sin(carpet.turn))
    x, y = c * points.x - s * points.y, s * points.x + c * points.y
    patch = cv2.sqrt(points.width_x * points.width_y)
    x += np.float32(1.7 * carpet.seed)
    tone = sample_noise(1 if carpet.stretch else 2, x, y, _FIBRE_M, 1.6,
                        4.0 if carpet.stretch else 1.0)  # fmt: skip
    tone *= np.float32(carpet.fibre) / (1 + patch * np.float32(1 / 0.02))
    coarse = sample_noise(3, x, y, _STAIN_M, 2.5)
    coarse *= np.float32(0.6 * carpet.fibre) / (1 + patch * np.float32(1 / 0.12))
    tone += coarse
    tone += 1
    if carpet.stripes > 0:
        wave = np.sin(points.x * np.float32(np.pi / carpet.stripe_m))
        tone += np.float32(carpet.stripes) * np.clip(4 * wave, -1, 1)
    if carpet.seam_m > 0:
        tone *= 1 - 0.35 * _joint(points.y, points.width_y, carpet.seam_m, 0.006, 0.02)
    far = np.minimum(patch * np.float32(1 / 0.03), 1)
    far *= np.float32(0.35 * carpet.sheen)
    uneven = _coarse_noise(4, x, y, _MACRO_M, 24)
    uneven *= np.float32(carpet.macro)
    planes = []
    for value, shift in zip(carpet.color, carpet.hue_shift, strict=True):
        plane = uneven * np.float32(value * (0.6 + shift))
        plane += np.float32(value)
        plane *= tone
        plane += far * np.float32(0.4 + value)
        planes.append(plane)
    return planes


def _worn(points: GroundPoints, carpet: Carpet) -> np.ndarray:
    gone = sample_noise(6, points.x, points.y + np.float32(carpet.seed), 0.008, 2)
    gone /= 1 + cv2.sqrt(points.width_x * points.width_y) * np.float32(1 / 0.03)
    gone += _coarse_noise(5, points.x + np.float32(carpet.seed), points.y, 0.02, 10)
    gone *= np.float32(0.5 * carpet.wear)
    gone += np.float32(carpet.wear)
    return np.clip(gone, 0, 0.85, out=gone)


def _floor_tone(points: GroundPoints, floor: Floor) -> np.ndarray:
    tone = 1 + np.float32(floor.contrast) * _coarse_noise(7, points.x, points.y, 0.02, 12)
    if floor.tile_m > 0:
        for plane, width in ((points.x, points.width_x), (points.y, points.width_y)):
            tone *= 1 - 0.4 * _joint(plane, width, floor.tile_m, 0.008, 0.05)
    return np.asarray(tone, np.float32)


def _joint(
    plane: np.ndarray, width: np.ndarray, spacing_m: float, joint_m: float, fade_m: float
) -> np.ndarray:
    """Thin joints at equal distances, 1 in their middle, that fade where patches grow."""
    place = plane * np.float32(1 / spacing_m)
    place -= np.floor(place)
    gap = np.abs(place - np.float32(0.5)) * np.float32(spacing_m)
    near = np.clip(np.float32(1.5) - gap / np.maximum(width, np.float32(joint_m)), 0, 1)
    return np.asarray(near / (1 + width * np.float32(1 / fade_m)))
