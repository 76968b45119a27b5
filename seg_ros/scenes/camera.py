"""Cameras: where a pixel looks, and the pinhole view that has to be rendered for it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

MAX_VIEW_TAN = 2.2  # half angle of 65.6 degrees: beyond it a pinhole image wastes its pixels


@dataclass(frozen=True)
class Camera:
    """A camera in the world; pixel centres have whole coordinates.

    A pixel at distance r from the principal point, in focal lengths, sees the direction with
    tangent r (1 + k1 r^2 + k2 r^4) off the axis, or with angle r when ``fisheye`` (equidistant).

    Attributes:
        width_px: Columns.
        height_px: Rows.
        focal_px: Focal length; pixels are square, the principal point is in the middle.
        position: (x, y, z), metres, world frame (see ``seg_ros.scenes.pitch``).
        rotation: (3, 3); the columns are the camera's right, down and forward in the world.
        k1: Radial distortion; above 0 is barrel.
        k2: Radial distortion, next order.
        fisheye: Equidistant projection in place of the radial one.
    """

    width_px: int
    height_px: int
    focal_px: float
    position: np.ndarray
    rotation: np.ndarray
    k1: float = 0.0
    k2: float = 0.0
    fisheye: bool = False

    @property
    def is_pinhole(self) -> bool:
        """Whether straight lines stay straight."""
        return not self.fisheye and self.k1 == 0 and self.k2 == 0

    @property
    def intrinsics(self) -> np.ndarray:
        """(3, 3) float64 K, without the distortion."""
        f, cx, cy = self.focal_px, (self.width_px - 1) / 2, (self.height_px - 1) / 2
        return np.array([[f, 0, cx], [0, f, cy], [0, 0, 1]])

    def tangents(self) -> np.ndarray:
        """Where each pixel looks in the camera frame: (H, W, 2) float32, x/z and y/z.

        Directions further than 88 degrees off the axis are clipped to it.
        """
        u = (np.arange(self.width_px, dtype=np.float32) - (self.width_px - 1) / 2) / np.float32(
            self.focal_px
        )
        v = np.arange(self.height_px, dtype=np.float32) - (self.height_px - 1) / 2
        v = v / np.float32(self.focal_px)
        plane = cv2.merge(np.meshgrid(u, v))
        if self.is_pinhole:
            return plane
        square = plane[..., 0] ** 2 + plane[..., 1] ** 2
        if self.fisheye:
            radius = np.sqrt(np.maximum(square, 1e-12))
            scale = np.tan(np.minimum(radius, np.radians(88.0))) / radius
        else:
            scale = 1 + self.k1 * square + self.k2 * square**2
        plane *= scale[..., None].astype(np.float32)
        return plane

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels of world points, for cameras without distortion.

        Args:
            points: (N, 3) metres.

        Returns:
            (N, 2) columns and rows, NaN for points behind the camera.

        Raises:
            ValueError: If the camera distorts.
        """
        if not self.is_pinhole:
            raise ValueError('only cameras without distortion project in closed form')
        local = (np.asarray(points, dtype=float) - self.position) @ self.rotation
        depth = np.where(local[:, 2] > 0, local[:, 2], np.nan)
        middle = np.array([(self.width_px - 1) / 2, (self.height_px - 1) / 2])
        return np.asarray(local[:, :2] / depth[:, None] * self.focal_px + middle)


@dataclass(frozen=True)
class View:
    """The pinhole image that holds what a camera sees.

    Attributes:
        width_px: Columns.
        height_px: Rows.
        focal_px: Focal length.
        position: As in ``Camera``.
        rotation: As in ``Camera``.
    """

    width_px: int
    height_px: int
    focal_px: float
    position: np.ndarray
    rotation: np.ndarray


def covering_view(camera: Camera, tangents: np.ndarray, max_px: int) -> View:
    """The pinhole image to render for a camera.

    Args:
        camera: Any camera.
        tangents: What ``camera.tangents()`` returned.
        max_px: Longest side that can be rendered.

    Returns:
        The camera itself when it is a pinhole; else an image of about the same resolution in
        the middle that reaches out to the camera's edge or to ``MAX_VIEW_TAN``.
    """
    if camera.is_pinhole:
        return View(
            camera.width_px, camera.height_px, camera.focal_px, camera.position, camera.rotation
        )
    right, down = cv2.split(tangents)
    reach = np.minimum([np.abs(right).max(), np.abs(down).max()], MAX_VIEW_TAN)
    focal = min(1.1 * camera.focal_px, (max_px - 4) / (2 * float(reach.max())))
    width, height = (int(np.ceil(2 * focal * float(value))) + 3 for value in reach)
    return View(width, height, focal, camera.position, camera.rotation)


def look(yaw: float, pitch_down: float, roll: float) -> np.ndarray:
    """Rotation of a camera from angles in radians; columns are right, down and forward."""
    forward = np.array(
        [
            np.cos(yaw) * np.cos(pitch_down),
            np.sin(yaw) * np.cos(pitch_down),
            -np.sin(pitch_down),
        ]
    )
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    down = np.cross(forward, right)
    turned_right = np.cos(roll) * right + np.sin(roll) * down
    turned_down = np.cos(roll) * down - np.sin(roll) * right
    return np.stack([turned_right, turned_down, forward], axis=1)
