"""A whole scene, drawn from a random generator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from seg_ros.scenes import camera as cameras
from seg_ros.scenes import pitch as pitches
from seg_ros.scenes.figures import (
    figure_parts,
    random_person,
    random_posture,
    random_robot,
)
from seg_ros.scenes.ground import Carpet, Floor
from seg_ros.scenes.hall import random_hall
from seg_ros.scenes.props import goal, litter, random_ball
from seg_ros.scenes.sensor import Sensor, random_sensor
from seg_ros.scenes.stage import Light
from seg_ros.scenes.surroundings import painted_panorama, photo_panorama
from seg_ros.scenes.wheeled import wheeled_robot

if TYPE_CHECKING:
    from pathlib import Path

    from seg_ros.scenes.camera import Camera
    from seg_ros.scenes.parts import Part
    from seg_ros.scenes.pitch import Pitch


@dataclass(frozen=True)
class Sunlight:
    """Bright patches on the ground where light falls through windows.

    Attributes:
        gain: Factor on the light inside the patches.
        windows: Each (x, y, length, width, direction): metres and radians.
        blur_m: Width of their edges.
    """

    gain: float
    windows: tuple[tuple[float, float, float, float, float], ...]
    blur_m: float


@dataclass(frozen=True)
class Scene:
    """Everything that a picture depends on, but for the sensor's noise.

    Attributes:
        pitch: Geometry.
        carpet: Grass and paint.
        floor: Around the carpet.
        parts: Solid things.
        lights: At most 8.
        sunlight: Bright patches, or None.
        panorama: Far surroundings, as ``seg_ros.scenes.surroundings`` makes them.
        camera: Where it is seen from.
        sensor: What it is seen with.
    """

    pitch: Pitch
    carpet: Carpet
    floor: Floor
    parts: tuple[Part, ...]
    lights: tuple[Light, ...]
    sunlight: Sunlight | None
    panorama: np.ndarray
    camera: Camera
    sensor: Sensor


def random_scene(
    rng: np.random.Generator, width_px: int, height_px: int, photos: tuple[Path, ...] = ()
) -> Scene:
    """Draw a scene.

    Args:
        rng: Draws everything.
        width_px: Of the picture.
        height_px: Of the picture.
        photos: Pictures to use as surroundings; painted halls when empty.

    Returns:
        The scene.
    """
    pitch = random_pitch(rng)
    camera = random_camera(rng, pitch, width_px, height_px)
    if photos and rng.random() < 0.8:
        panorama = photo_panorama(photos[int(rng.integers(len(photos)))], rng)
    else:
        panorama = painted_panorama(rng)
    parts = [*_play(rng, pitch, camera), *random_hall(rng, pitch, camera)]
    lights, sunlight = random_lights(rng, pitch)
    return Scene(
        pitch,
        random_carpet(rng, pitch),
        random_floor(rng),
        tuple(_clear_of_lens(parts, camera)),
        lights,
        sunlight,
        panorama,
        camera,
        random_sensor(rng, width_px / 640),
    )


def random_pitch(rng: np.random.Generator) -> Pitch:
    """A league's pitch, laid somewhat differently, as in laboratories."""
    chosen = rng.choice(4, p=[0.42, 0.25, 0.2, 0.13])
    pitch = (
        pitches.KID_SIZE,
        pitches.ADULT_SIZE,
        pitches.STANDARD_PLATFORM,
        pitches.MIDDLE_SIZE,
    )[chosen]
    if rng.random() < 0.5:
        return pitch
    stretch = rng.uniform(0.85, 1.1, 4)
    return replace(
        pitch,
        length=pitch.length * float(stretch[0]),
        width=pitch.width * float(stretch[1]),
        border=float(rng.uniform(0.15, 1.6)),
        line_width=pitch.line_width * float(rng.uniform(0.8, 1.5)),
        circle_radius=pitch.circle_radius * float(stretch[2]),
        mark_size=pitch.mark_size * float(rng.uniform(1, 2.2)),
        mark_cross=bool(rng.random() < 0.65),
        goal_width=pitch.goal_width * float(stretch[3]),
        penalty_area=pitch.penalty_area if rng.random() < 0.7 else (0.0, 0.0),
    )


def random_camera(rng: np.random.Generator, pitch: Pitch, width_px: int, height_px: int) -> Camera:
    """A camera on a robot's head, mostly over the carpet, looking mostly over the pitch."""
    reach = np.array([pitch.length, pitch.width]) / 2 + 0.8 * pitch.border
    position = rng.uniform(-reach, reach)
    target = rng.uniform(-1, 1, 2) * (reach * 0.7)
    if rng.random() < 0.25:
        target = position + rng.normal(0, 1, 2)
    yaw = float(np.arctan2(*(target - position)[::-1])) + float(rng.normal(0, 0.2))
    height = float(np.clip(rng.lognormal(-0.3, 0.5), 0.3, 1.5))
    pick = rng.random()
    if pick < 0.6:
        pitch_down = float(rng.normal(0.3, 0.17))
    elif pick < 0.85:
        pitch_down = float(rng.uniform(0.4, 1.0))
    else:
        pitch_down = float(rng.uniform(-0.05, 0.2))
    roll = float(rng.normal(0, 0.06)) if rng.random() < 0.8 else float(rng.normal(0, 0.3))
    rotation = cameras.look(yaw, pitch_down, roll)
    view = float(rng.uniform(45, 90)) if rng.random() < 0.7 else float(rng.uniform(90, 120))
    focal = width_px / 2 / np.tan(np.radians(view) / 2)
    place = np.array([position[0], position[1], height])
    lens = rng.random()
    if lens < (0.5 if pitch.name == 'middle size' else 0.1):
        focal = width_px / np.radians(float(rng.uniform(80, 150)))
        if rng.random() < 0.5:  # as high over the horizon as below it
            rotation = cameras.look(yaw, float(rng.normal(0.0, 0.1)), roll)
        return cameras.Camera(width_px, height_px, focal, place, rotation, fisheye=True)
    if lens < 0.45 and view < 105:
        corner = (width_px / 2 / focal) ** 2
        k1 = float(rng.uniform(-0.05, 0.25)) / max(corner, 0.2)
        return cameras.Camera(width_px, height_px, float(focal), place, rotation, k1=k1)
    return cameras.Camera(width_px, height_px, float(focal), place, rotation)


def random_carpet(rng: np.random.Generator, pitch: Pitch) -> Carpet:
    """Grass of any green, and its paint."""
    pick = rng.random()
    hue = float(rng.uniform(75, 125)) if pick < 0.7 else float(rng.uniform(125, 158))
    if pick > 0.94:
        hue = float(rng.uniform(55, 75))  # dry, brownish
    saturation = float(rng.beta(4, 2.2)) * 0.8 + 0.14
    value = float(rng.uniform(0.16, 0.66))
    if hue < 75:
        saturation *= 0.5
    smooth = rng.random() < 0.3  # felt rather than grass
    white = float(rng.uniform(0.68, 1.0))
    tint = np.clip(white + rng.normal(0, 0.02, 3), 0, 1).tolist()
    return Carpet(
        color=_from_hsv(hue, saturation, value),
        fibre=float(rng.uniform(0.01, 0.05)) if smooth else float(rng.uniform(0.05, 0.24)),
        stretch=bool(rng.random() < 0.4),
        macro=float(rng.uniform(0.0, 0.16)),
        hue_shift=(
            float(rng.normal(0.1, 0.4)),
            float(rng.normal(0.1, 0.2)),
            float(rng.normal(0, 0.4)),
        ),
        stripes=float(rng.uniform(0.03, 0.12)) * (rng.random() < 0.12),
        stripe_m=float(rng.uniform(0.4, 1.2)),
        seam_m=float(rng.uniform(1.0, 2.2)) * (rng.random() < 0.3),
        sheen=float(rng.uniform(0.0, 0.35)),
        line_color=(tint[0], tint[1], tint[2]),
        wear=float(rng.beta(1.1, 3.0)) * 0.8,
        wobble=float(rng.uniform(0.003, 0.012)) * (rng.random() < 0.4),
        turn=float(rng.uniform(0, 2 * np.pi)),
        seed=int(rng.integers(1000)) + int(pitch.length),
    )


def random_floor(rng: np.random.Generator) -> Floor:
    """Concrete, wood, tiles or a carpet of another colour."""
    shade = float(rng.uniform(0.08, 0.75))
    tint = np.clip(rng.normal(1, 0.05, 3), 0.8, 1.2)
    if rng.random() < 0.25:
        tint = np.array([1.2, 0.9, 0.6])
    r, g, b = np.clip(shade * tint, 0, 1).tolist()
    tiled = rng.random() < 0.3
    mirror = float(rng.uniform(0.05, 0.4)) * (rng.random() < 0.4)
    return Floor((r, g, b), float(rng.uniform(0, 0.15)), 0.5 * tiled, mirror)


def random_lights(
    rng: np.random.Generator, pitch: Pitch
) -> tuple[tuple[Light, ...], Sunlight | None]:
    """Hall lamps, or a low sun, and patches of light from windows."""
    low_sun = rng.random() < 0.2
    ambient = float(rng.uniform(0.3, 0.55) if low_sun else rng.uniform(0.45, 0.8))
    tint = np.clip(rng.normal(1, 0.06, 3), 0.85, 1.15)
    budget = float(rng.uniform(0.95, 1.15)) - ambient
    count = 1 if low_sun else int(rng.integers(2, 5))
    shares = rng.dirichlet(np.full(count, 3.0)) * budget
    softness = float(rng.uniform(0.0, 0.02) if low_sun else rng.gamma(2.0, 0.03))
    lights = []
    for index, share in enumerate(shares):
        flat = np.clip(rng.normal(0, 1, 2) * (1.0 if low_sun else 0.45), -1.3, 1.3)
        direction = np.array([flat[0], flat[1], -1.0])
        r, g, b = (share * tint / -direction[2] * np.linalg.norm(direction)).tolist()
        a = np.clip(ambient * tint, 0, 1).tolist() if index == 0 else (0.0, 0.0, 0.0)
        lights.append(Light(direction, (r, g, b), (a[0], a[1], a[2]), softness))
    # Light that comes back from walls and ground; it hardly reaches the ground itself.
    level = rng.normal(0, 1, 2)
    fill = (float(rng.uniform(0.1, 0.35)) * tint).tolist()
    sideways = np.array([level[0], level[1], -0.05])
    lights.append(Light(sideways, (fill[0], fill[1], fill[2])))
    lights.append(Light(sideways * (-0.8, -0.8, 1), (fill[0], fill[1], fill[2])))
    sunlight = None
    if rng.random() < 0.16:
        heading = float(rng.uniform(0, np.pi))
        windows = tuple(
            (
                float(rng.uniform(-0.6, 0.6) * pitch.length),
                float(rng.uniform(-0.6, 0.6) * pitch.width),
                float(rng.uniform(0.5, 4.0)),
                float(rng.uniform(0.2, 1.2)),
                heading + float(rng.normal(0, 0.04)),
            )
            for _ in range(int(rng.integers(2, 14)))
        )
        gain = float(rng.uniform(1.3, 3.2))
        sunlight = Sunlight(gain, windows, float(rng.uniform(0.01, 0.15)))
    return tuple(lights), sunlight


def _play(rng: np.random.Generator, pitch: Pitch, camera: Camera) -> list[Part]:
    """Goals, ball, robots and people on the carpet."""
    parts: list[Part] = []
    if rng.random() < 0.9:
        for side in (-1, 1):
            parts += goal(rng, pitch, side)
    wheels = pitch.name == 'middle size' and rng.random() < 0.8
    team = [random_robot(rng) for _ in range(2)]
    near_feet = [spot_in_view(rng, camera, near=0.5)]
    for _ in range(int(rng.choice([0, 1, 2, 3, 4, 6], p=[0.12, 0.2, 0.25, 0.2, 0.13, 0.1]))):
        yaw, near = float(rng.uniform(-np.pi, np.pi)), 0.45 if rng.random() < 0.2 else 0.9
        place = spot_in_view(rng, camera, near=near)
        ahead = np.array([np.cos(yaw), np.sin(yaw)]) * float(rng.uniform(0.12, 0.35))
        near_feet.append(place + ahead + rng.normal(0, 0.06, 2))
        if wheels:
            parts += wheeled_robot(rng, place, yaw)
            continue
        figure = team[int(rng.integers(2))] if rng.random() < 0.6 else random_robot(rng)
        parts += figure_parts(figure, random_posture(rng), place, yaw)
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.1, 0.7, 0.13, 0.07]))):
        place = spot_in_view(rng, camera, near=0.5)
        if rng.random() < 0.4:
            place = near_feet[int(rng.integers(len(near_feet)))]
        lift = float(rng.uniform(0.05, 0.8)) if rng.random() < 0.06 else 0.0
        parts.append(random_ball(rng, place, lift))
    if rng.random() < 0.3:
        for _ in range(int(rng.integers(1, 4))):
            parts += litter(rng, spot_in_view(rng, camera, near=0.6))
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.5, 0.25, 0.15, 0.1]))):
        place = spot_in_view(rng, camera, near=0.8)
        posture = random_posture(rng, person=True)
        parts += figure_parts(random_person(rng), posture, place, float(rng.uniform(-3, 3)))
    if wheels and rng.random() < 0.4:
        heading = camera.rotation[:2, 2]
        parts += wheeled_robot(rng, camera.position[:2] - 0.1 * heading, float(rng.uniform(-3, 3)))
    elif rng.random() < 0.25:
        parts += _own_body(rng, camera)
    return parts


def _own_body(rng: np.random.Generator, camera: Camera) -> list[Part]:
    """The robot that carries the camera: what of it reaches into view."""
    figure = replace(random_robot(rng), height=float(camera.position[2]) * 1.08)
    forward = camera.rotation[:2, 2]
    yaw = float(np.arctan2(forward[1], forward[0])) + float(rng.normal(0, 0.15))
    back = 0.06 * figure.height * np.array([np.cos(yaw), np.sin(yaw)])
    posture = replace(random_posture(rng), lie=0.0, roll=0.0)
    if rng.random() < 0.5:
        posture = replace(
            posture, shoulder=(float(rng.uniform(0, 1.4)), float(rng.uniform(0, 1.4)))
        )
    return figure_parts(figure, posture, camera.position[:2] - back, yaw)


def spot_in_view(rng: np.random.Generator, camera: Camera, near: float) -> np.ndarray:
    """A place on the ground that the camera sees: (x, y), metres.

    Args:
        rng: Draws it.
        camera: Where from.
        near: Shortest distance along the ground, metres.
    """
    forward = camera.rotation[:2, 2]
    heading = float(np.arctan2(forward[1], forward[0]))
    half = float(np.arctan(camera.width_px / 2 / camera.focal_px))
    bearing = heading + float(rng.uniform(-0.9, 0.9)) * half
    distance = near + float(rng.gamma(2.0, 1.1))
    return camera.position[:2] + distance * np.array([np.cos(bearing), np.sin(bearing)])


def _clear_of_lens(parts: list[Part], camera: Camera) -> list[Part]:
    """Leave out what would cover the lens or lies behind it."""
    forward = camera.rotation[:, 2]
    kept = []
    for part in parts:
        offset = part.position - camera.position
        reach = max(part.size)
        # What is well behind the camera can neither be seen nor throw its shadow into view.
        if float(offset @ forward) < -reach - 1.5:
            continue
        if float(offset @ offset) ** 0.5 > min(reach, 0.4) + 0.12:
            kept.append(part)
    return kept


def _from_hsv(hue_deg: float, saturation: float, value: float) -> tuple[float, float, float]:
    sector, share = divmod(hue_deg / 60, 1)
    p, q, t = value * (1 - saturation), value * (1 - saturation * share), 0.0
    t = value * (1 - saturation * (1 - share))
    table_ = [
        (value, t, p),
        (q, value, p),
        (p, value, t),
        (p, q, value),
        (t, p, value),
        (value, p, q),
    ]
    return table_[int(sector) % 6]
