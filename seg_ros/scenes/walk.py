"""A camera that walks over one pitch: labelled frames in the order of time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from seg_ros.scenes import pitch as pitches
from seg_ros.scenes.camera import Camera, look
from seg_ros.scenes.figures import (
    figure_parts,
    random_person,
    random_posture,
    random_robot,
    walking,
)
from seg_ros.scenes.hall import random_hall
from seg_ros.scenes.parts import Part, tilt, turn
from seg_ros.scenes.props import goal, random_ball
from seg_ros.scenes.scene import Scene, random_carpet, random_floor, random_lights
from seg_ros.scenes.sensor import Sensor
from seg_ros.scenes.surroundings import painted_panorama

_HEIGHT_M = 0.95
_VIEW_DEG = 74.0
_STEP_HZ = 1.4


@dataclass(frozen=True)
class _Runner:
    """A robot or a person on the way from ``start``: metres, metres per second, seconds."""

    look: int
    start: np.ndarray
    velocity: np.ndarray
    phase: float
    person: bool = False


class Walk:
    """A game of a few seconds, seen by a robot that walks from the centre towards a goal.

    Args:
        seed: Draws pitch, carpet, light, robots and people.
        duration_s: From the first to the last frame.
        width_px: Columns.
        height_px: Rows.
    """

    def __init__(
        self, seed: int, duration_s: float, width_px: int = 640, height_px: int = 480
    ) -> None:
        rng = np.random.default_rng([seed, 1])
        self._seed, self._duration_s = seed, max(duration_s, 1e-3)
        self._size = (width_px, height_px)
        self._pitch = pitches.ADULT_SIZE if rng.random() < 0.5 else pitches.KID_SIZE
        self._scale = self._pitch.length / 14.0
        goals = [part for side in (-1, 1) for part in goal(rng, self._pitch, side)]
        self._ball = random_ball(rng, np.zeros(2))
        self._ball.texture, self._ball.color = 'ball_classic', (1.0, 1.0, 1.0)
        self._figures = [random_robot(rng) for _ in range(2)] + [random_person(rng)]
        light, dark = (0.85, 0.85, 0.87), (0.09, 0.09, 0.1)
        red, blue = (0.8, 0.12, 0.12), (0.1, 0.25, 0.75)
        self._figures[0] = replace(
            self._figures[0], height=0.85, colors=(light, dark, dark, light, red)
        )
        self._figures[1] = replace(
            self._figures[1], height=0.7, colors=(dark, light, dark, light, blue)
        )
        self._runners = self._draw_runners(rng)
        self._fallen = replace(random_posture(rng), lie=1.5, hip=(0.2, -0.2))
        camera = self.camera(0.0)
        lights, _ = random_lights(rng, self._pitch)
        carpet = random_carpet(rng, self._pitch)
        carpet = replace(
            carpet,
            color=(0.17, 0.42, 0.12),
            fibre=min(carpet.fibre, 0.12),
            wear=min(carpet.wear, 0.2),
            line_color=(0.9, 0.9, 0.88),
        )
        hall = random_hall(rng, self._pitch, camera)
        self._still = (*goals, *hall)
        self._scene = Scene(
            self._pitch,
            carpet,
            random_floor(rng),
            self._still,
            lights,
            None,
            painted_panorama(rng),
            camera,
            Sensor(
                exposure=1.1, vignette=0.15, defocus_px=0.5, shot_noise=0.008, read_noise=0.004
            ),
        )

    def scene(self, time_s: float) -> Scene:
        """The scene at a time, 0 to ``duration_s``."""
        parts: list[Part] = [*self._still, self._rolling_ball(time_s)]
        for runner in self._runners:
            place = runner.start + time_s * runner.velocity
            yaw = float(np.arctan2(runner.velocity[1], runner.velocity[0]))
            posture = walking(2 * np.pi * _STEP_HZ * time_s + runner.phase)
            parts += figure_parts(self._figures[runner.look], posture, place, yaw)
        place = np.array([0.28 * self._pitch.length, -0.22 * self._pitch.width])
        parts += figure_parts(self._figures[1], self._fallen, place, 2.0)
        return replace(self._scene, parts=tuple(parts), camera=self.camera(time_s))

    def camera(self, time_s: float) -> Camera:
        """The camera at a time: it steps, bobs, and its head looks around."""
        share = time_s / self._duration_s
        step = 2 * np.pi * _STEP_HZ * time_s
        start, end = np.array([-2.2, -1.8]) * self._scale, np.array([1.5, -0.9]) * self._scale
        position = start + (end - start) * share
        height = _HEIGHT_M + 0.012 * np.sin(2 * step)
        gaze = 0.5 * (self._ball_place(time_s) + np.array([self._pitch.length / 2, 0.0]))
        offset = gaze - position
        yaw = np.arctan2(offset[1], offset[0]) + 0.38 * np.sin(2 * np.pi * 1.5 * share)
        pitch_down = 0.27 + 0.13 * np.sin(2 * np.pi * 2 * share + 0.5) + 0.008 * np.sin(2 * step)
        roll = 0.025 * np.sin(step)
        sway = 0.02 * np.sin(step) * np.array([-np.sin(yaw), np.cos(yaw)])
        width_px, height_px = self._size
        focal = width_px / 2 / np.tan(np.radians(_VIEW_DEG) / 2)
        place = np.array([*(position + sway), height])
        rotation = look(float(yaw), float(pitch_down), float(roll))
        return Camera(width_px, height_px, float(focal), place, rotation)

    def sensor_noise(self, index: int) -> np.random.Generator:
        """What draws the noise of frame ``index``."""
        return np.random.default_rng([self._seed, 2, index])

    def _draw_runners(self, rng: np.random.Generator) -> list[_Runner]:
        places = np.array([[3.4, 1.6], [4.6, -0.9], [1.6, 0.9], [5.9, 0.4]])
        velocities = np.array([[0.2, -0.15], [-0.12, 0.2], [0.35, 0.05], [0.02, -0.18]])
        runners = [
            _Runner(
                index % 2,
                self._scale * (place + rng.normal(0, 0.15, 2)),
                velocity * float(rng.uniform(0.8, 1.2)),
                float(rng.uniform(0, 6)),
            )
            for index, (place, velocity) in enumerate(zip(places, velocities, strict=True))
        ]
        referee = np.array([4.4, 3.2]) * self._scale
        runners.append(_Runner(2, referee, np.array([0.3, -0.1]), 0.0, person=True))
        return runners

    def _ball_place(self, time_s: float) -> np.ndarray:
        """It is kicked and slows down."""
        travelled = 4.6 * (1 - np.exp(-0.35 * time_s))
        heading = np.array([np.cos(0.12), np.sin(0.12)])
        return np.asarray((np.array([0.2, -0.7]) + heading * travelled) * self._scale)

    def _rolling_ball(self, time_s: float) -> Part:
        place = self._ball_place(time_s)
        radius = self._ball.size[0]
        angle = float(np.linalg.norm(place - self._ball_place(0.0))) / radius
        rotation = turn(0.12) @ tilt(angle, 1) @ self._ball.rotation
        return replace(self._ball, position=np.array([*place, radius]), rotation=rotation)
