"""The light that reaches the ground: shadows of parts, from hard ones in the sun to soft ones.

Every lamp is far away, so the shadow of a convex part is a polygon in closed form. It is drawn
into a small map of the ground, which costs a fraction of OpenGL's shadows and can be blurred.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seg_ros.scenes.camera import Camera
    from seg_ros.scenes.ground import GroundPoints
    from seg_ros.scenes.parts import Part
    from seg_ros.scenes.stage import Light

_BRIGHTEST = 1.6
GROUND_LIGHT_STEP = _BRIGHTEST / 255
_TEXEL_M = 0.03
_SIDE_PX = 352  # 10 m in front of the camera; shadows further away are too small to matter
_AHEAD_M = 4.0
_AMBIENT_BLUR_M, _AMBIENT_LOSS, _LOW_M = 0.07, 0.65, 0.35
_ANGLES = np.arange(20) * (2 * np.pi / 20)
_AROUND = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)])  # (2, N)


def ground_light(
    points: GroundPoints, parts: Sequence[Part], lights: Sequence[Light], camera: Camera
) -> np.ndarray:
    """Light that falls on the ground.

    Args:
        points: (H, W) places on the ground.
        parts: What throws shadows.
        lights: The lamps; what is ambient is dimmed right under low things.
        camera: The shadows are drawn in front of it.

    Returns:
        (H, W, 3) uint8 RGB; times ``GROUND_LIGHT_STEP`` it is the factor on the ground's colour.
    """
    forward = camera.rotation[:2, 2]
    ahead = forward / max(float(np.linalg.norm(forward)), 1e-6) * _AHEAD_M
    corner = camera.position[:2] + ahead - _SIDE_PX * _TEXEL_M / 2
    solid = [part for part in parts if part.shadow]
    low = [part for part in solid if part.position[2] < _LOW_M]
    ambient = np.sum([light.ambient for light in lights], axis=0)
    maps = [_shadow_map(low, np.array([0.0, 0.0, -1.0]), corner, _AMBIENT_BLUR_M)]
    losses, total = [_AMBIENT_LOSS * ambient], ambient.copy()
    for light in lights:
        cosine = max(0.0, float(-light.direction[2] / np.linalg.norm(light.direction)))
        total += cosine * np.array(light.diffuse)
        if light.shadow_blur_m is not None:
            maps.append(_shadow_map(solid, light.direction, corner, light.shadow_blur_m))
            losses.append(cosine * np.array(light.diffuse))
    full = total * (255 / _BRIGHTEST)
    mixing = np.column_stack([-np.array(losses).T / _BRIGHTEST, full]).astype(np.float32)
    scale = np.float32(1 / _TEXEL_M)
    lit = cv2.remap(
        cv2.transform(cv2.merge(maps), mixing),
        (points.x - np.float32(corner[0])) * scale,
        (points.y - np.float32(corner[1])) * scale,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=tuple(full.tolist()),
    )
    return np.asarray(lit)


def _shadow_map(
    parts: Sequence[Part], direction: np.ndarray, corner: np.ndarray, blur_m: float
) -> np.ndarray:
    drawn = np.zeros((_SIDE_PX, _SIDE_PX), np.uint8)
    if parts:
        outlines = (shadow_outlines(parts, direction) - corner) / _TEXEL_M
        inside = (outlines.max(axis=1) > 0).all(axis=1)
        inside &= (outlines.min(axis=1) < _SIDE_PX).all(axis=1)
        for outline in np.round(np.clip(outlines[inside], -9e3, 9e3) * 16).astype(np.int32):
            cv2.fillConvexPoly(drawn, outline, 255, cv2.LINE_AA, 4)
    if blur_m > _TEXEL_M / 2:
        drawn = cv2.GaussianBlur(drawn, (0, 0), blur_m / _TEXEL_M)
    return drawn


def shadow_outlines(parts: Sequence[Part], direction: np.ndarray) -> np.ndarray:
    """Outlines of the shadows of parts on the ground z = 0.

    A convex body's outline in a direction u is its support point there, which is the sum of those
    of an ellipsoid and of a sum of line segments; every shape is such a sum.

    Args:
        parts: N parts.
        direction: (3,) the way the light shines; z below 0.

    Returns:
        (N, 20, 2) corners of convex polygons, metres.
    """
    drop = -direction[2]
    along = np.array([[1, 0, direction[0] / drop], [0, 1, direction[1] / drop]])  # (2, 3)
    size = np.array([part.size for part in parts])
    axes = along @ (np.stack([part.rotation for part in parts]) * size[:, None, :])  # (N, 2, 3)
    middle = np.stack([part.position for part in parts]) @ along.T
    shape = np.array([part.shape for part in parts])
    straight = np.zeros((len(parts), 3), bool)
    straight[shape == 'box'] = True
    straight[np.isin(shape, ['capsule', 'cylinder']), 2] = True
    segments = axes * straight[:, None, :]
    rounded = axes * ~straight[:, None, :]
    caps = np.flatnonzero(shape == 'capsule')
    rounded[caps] = along * size[caps, 0, None, None]
    reach = np.einsum('nck,ca->nka', segments, _AROUND)
    points = np.einsum('nck,nka->nac', segments, np.sign(reach))
    spread = np.einsum('nck,ca->nka', rounded, _AROUND)
    spread /= np.maximum(np.linalg.norm(spread, axis=1, keepdims=True), 1e-9)
    points += np.einsum('nck,nka->nac', rounded, spread)
    return np.asarray(points + middle[:, None, :])
