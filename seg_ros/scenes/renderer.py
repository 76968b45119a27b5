"""From a scene to a picture and its labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from seg_ros.scenes.camera import MAX_VIEW_TAN, covering_view
from seg_ros.scenes.ground import GroundPoints, ground_points, paint_ground
from seg_ros.scenes.labels import BACKGROUND, scene_classes
from seg_ros.scenes.scene import Scene, Sunlight
from seg_ros.scenes.sensor import expose
from seg_ros.scenes.shadows import GROUND_LIGHT_STEP, ground_light
from seg_ros.scenes.stage import FIRST_PART_ID, MAX_SIDE_PX, NOTHING_ID, shared_stage
from seg_ros.scenes.surroundings import look_up

if TYPE_CHECKING:
    from seg_ros.scenes.camera import Camera
    from seg_ros.scenes.parts import Part

_BEYOND_ID, _GROUND_ID = -1, -2  # outside of what the lens lets through; the ground
_SUN_TEXEL_M = 0.04


@dataclass(frozen=True)
class Seen:
    """What a camera sees before its sensor.

    Attributes:
        light: (H, W, 3) float32 RGB, 0 to 1 and somewhat above.
        labels: (H, W) uint8.
    """

    light: np.ndarray
    labels: np.ndarray


class SceneRenderer:
    """Renders scenes; all of a process share one stage."""

    def __init__(self, num_classes: int = 4) -> None:
        scene_classes(num_classes)
        self._num_classes = num_classes
        shared_stage()

    def render(self, scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Take a picture of a scene.

        Args:
            scene: The scene.
            rng: Draws the sensor's noise.

        Returns:
            (H, W, 3) uint8 RGB and (H, W) uint8 class ids of what is visible at the centre of
            each pixel; on the ground as ``seg_ros.scenes.ground`` decides.
        """
        seen = self.see(scene)
        return expose(seen.light, seen.labels, scene.sensor, rng)

    def see(self, scene: Scene) -> Seen:
        """Light and labels before the sensor adds its own."""
        camera = scene.camera
        tangents = camera.tangents()
        view = covering_view(camera, tangents, MAX_SIDE_PX)
        picture, ids = shared_stage().draw(scene.parts, scene.lights, view)
        if not camera.is_pinhole:
            middle = np.array([(view.width_px - 1) / 2, (view.height_px - 1) / 2], np.float32)
            source = tangents * np.float32(view.focal_px) + middle
            picture = cv2.remap(picture, source, None, cv2.INTER_LINEAR)
            ids = cv2.remap(
                ids.astype(np.float32), source, None, cv2.INTER_NEAREST, borderValue=_BEYOND_ID
            ).astype(np.int32)
            right, down = cv2.split(np.abs(tangents))
            ids[np.maximum(right, down) > MAX_VIEW_TAN] = _BEYOND_ID
        light = cv2.multiply(picture, (1 / 255,) * 4, dtype=cv2.CV_32F)
        light[ids == _BEYOND_ID] = 0
        labels = self._part_labels(scene.parts)[ids]
        rays = _world_rays(camera, tangents)
        self._add_ground(scene, rays, ids, light, labels)
        self._add_surroundings(scene, rays, ids, light)
        return Seen(_smooth_edges(light, ids), labels)

    def _part_labels(self, parts: tuple[Part, ...]) -> np.ndarray:
        """Class ids by the stage's ids; index -1 is what lies beyond the lens."""
        table = np.full(len(parts) + FIRST_PART_ID + 1, BACKGROUND, np.uint8)
        for index, part in enumerate(parts, start=FIRST_PART_ID):
            table[index] = part.label if part.label < self._num_classes else BACKGROUND
        return table

    def _add_ground(
        self,
        scene: Scene,
        rays: np.ndarray,
        ids: np.ndarray,
        light: np.ndarray,
        labels: np.ndarray,
    ) -> None:
        rows = _rows_with((ids == NOTHING_ID) & (rays[..., 2] < 0))
        if rows is None:
            return
        points = ground_points(rays[rows], scene.camera.position)
        here = (ids[rows] == NOTHING_ID) & points.valid
        color, painted = paint_ground(points, scene.pitch, scene.carpet, scene.floor)
        if scene.floor.mirror > 0 and not scene.pitch.on_carpet(points.x, points.y).all():
            outside = ~scene.pitch.on_carpet(points.x, points.y)
            reflected = look_up(scene.panorama, rays[rows], mirrored=True)
            color[outside] += np.float32(scene.floor.mirror) * reflected[outside]
        if scene.sunlight is not None:
            color *= _sun_on_ground(points, scene.sunlight)[..., None]
        lit = ground_light(points, scene.parts, scene.lights, scene.camera)
        color = cv2.multiply(color, lit, scale=GROUND_LIGHT_STEP, dtype=cv2.CV_32F)
        cv2.copyTo(color, here.view(np.uint8), light[rows])
        np.copyto(labels[rows], painted, where=here)
        ids[rows][here] = _GROUND_ID

    def _add_surroundings(
        self, scene: Scene, rays: np.ndarray, ids: np.ndarray, light: np.ndarray
    ) -> None:
        empty = ids == NOTHING_ID
        rows = _rows_with(empty)
        if rows is not None:
            seen = look_up(scene.panorama, rays[rows])
            cv2.copyTo(seen, empty[rows].view(np.uint8), light[rows])


def _world_rays(camera: Camera, tangents: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.transform(tangents, camera.rotation.astype(np.float32)))


def _rows_with(mask: np.ndarray) -> slice | None:
    """The rows from the first to the last that hold any True; at least two."""
    found = np.flatnonzero(mask.any(axis=1))
    if not len(found):
        return None
    first = min(int(found[0]), mask.shape[0] - 2)
    return slice(first, max(int(found[-1]) + 1, first + 2))


def _sun_on_ground(points: GroundPoints, sunlight: Sunlight) -> np.ndarray:
    size = 640
    patches = np.zeros((size, size), np.uint8)
    for x, y, length, width, heading in sunlight.windows:
        along = np.array([np.cos(heading), np.sin(heading)]) * length / 2
        across = np.array([0.5 * np.cos(heading) - np.sin(heading), np.cos(heading)]) * width / 2
        corners = np.array([along + across, along - across, -along - across, across - along])
        pixels = (corners + np.array([x, y])) / _SUN_TEXEL_M + size / 2
        cv2.fillConvexPoly(patches, np.round(pixels * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    if sunlight.blur_m > _SUN_TEXEL_M / 2:
        patches = cv2.GaussianBlur(patches, (0, 0), sunlight.blur_m / _SUN_TEXEL_M)
    scale = np.float32(1 / _SUN_TEXEL_M)
    lit = cv2.remap(
        patches, points.x * scale + size / 2, points.y * scale + size / 2, cv2.INTER_LINEAR
    )
    gain = np.float32((sunlight.gain - 1) / 255)
    return np.asarray(1 + gain * lit.astype(np.float32))


def _smooth_edges(light: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Soften the steps where one thing ends and another begins; the labels stay as they are."""
    edge = np.zeros(ids.shape, bool)
    across = ids[:, 1:] != ids[:, :-1]
    down = ids[1:] != ids[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    cv2.copyTo(cv2.GaussianBlur(light, (3, 3), 0.7), edge.view(np.uint8), light)
    return light
