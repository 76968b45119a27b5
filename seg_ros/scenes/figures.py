"""Robots and people: a skeleton in a posture, dressed in parts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from seg_ros.scenes.bodies import DRESSERS, Build, Figure, Head, Joints
from seg_ros.scenes.labels import BACKGROUND, ROBOT
from seg_ros.scenes.parts import Color, Part, grey, tilt, turn, vivid
from seg_ros.scenes.textures import NUM_CLOTHS

SKIN: tuple[Color, ...] = (
    (0.9, 0.72, 0.6),
    (0.75, 0.55, 0.42),
    (0.5, 0.34, 0.25),
    (0.95, 0.8, 0.7),
)


@dataclass(frozen=True)
class Posture:
    """Angles of a figure, radians; pairs are left and right.

    Attributes:
        hip: Forward swing of the thighs.
        knee: Bend of the knees.
        shoulder: Forward swing of the arms.
        elbow: Bend of the elbows.
        spread: Arms away from the body.
        lean: Trunk forward.
        lie: Rotation of everything about the side (y) axis: pi/2 lies on the front.
        roll: Rotation of everything about the front (x) axis.
        head: Turn of the head.
    """

    hip: tuple[float, float] = (0.1, 0.1)
    knee: tuple[float, float] = (0.2, 0.2)
    shoulder: tuple[float, float] = (0.0, 0.0)
    elbow: tuple[float, float] = (0.3, 0.3)
    spread: float = 0.15
    lean: float = 0.0
    lie: float = 0.0
    roll: float = 0.0
    head: float = 0.0


def random_robot(rng: np.random.Generator) -> Figure:
    """Draw the look of a humanoid robot."""
    build: Build = ('shell', 'brackets', 'slim')[int(rng.choice(3, p=[0.4, 0.25, 0.35]))]
    light = grey(rng, 0.7, 1.0)
    dark = grey(rng, 0.03, 0.2)
    team: Color = vivid(rng)
    body = light if rng.random() < (0.35 if build == 'brackets' else 0.72) else dark
    if rng.random() < 0.08:
        body = team
    second = (dark, light, grey(rng, 0.2, 0.8))[int(rng.choice(3, p=[0.6, 0.2, 0.2]))]
    head = light if rng.random() < 0.65 else (body if rng.random() < 0.6 else team)
    pick = rng.random()
    visor = dark if pick < 0.5 else (team if pick < 0.8 else head)
    hands = (second, light, (0.95, 0.4, 0.12), team)[int(rng.choice(4, p=[0.4, 0.3, 0.1, 0.2]))]
    feet = dark if rng.random() < 0.6 else light
    rough = rng.random() < (0.6 if build == 'brackets' else 0.25)
    cloth = f'cloth_{(0, 3)[int(rng.integers(2))]}' if rough else ''
    height = float(rng.choice([0.5, 0.58, 0.75, 0.9, 1.3], p=[0.3, 0.25, 0.15, 0.18, 0.12]))
    return Figure(
        build,
        height * float(rng.uniform(0.9, 1.12)),
        ROBOT,
        (body, second, feet, head, team),
        float(rng.uniform(0.8, 1.3)),
        cloth,
        float(rng.uniform(0.0, 0.6)),
        Head(
            float(rng.uniform(0.85, 1.35)),
            bool(rng.random() < 0.7),
            visor,
            bool(rng.random() < 0.4),
        ),
        hands,
        bool(rng.random() < 0.5),
    )


def random_person(rng: np.random.Generator) -> Figure:
    """Draw the look of a person."""
    dark = rng.random() < 0.55
    shirt = grey(rng, 0.02, 0.2) if dark else vivid(rng)
    if rng.random() < 0.15:
        shirt = grey(rng, 0.7, 0.95)
    trousers = grey(rng, 0.02, 0.3)
    pick = rng.random()
    if pick < 0.35:
        trousers = (0.14, 0.2 + 0.1 * float(rng.random()), 0.42)
    elif pick < 0.5:
        trousers = (0.6, 0.52, 0.4)
    shoes = grey(rng, 0.02, 0.9) if rng.random() < 0.75 else vivid(rng)
    skin = SKIN[int(rng.integers(len(SKIN)))]
    hair: Color = grey(rng, 0.02, 0.2) if rng.random() < 0.75 else (0.45, 0.3, 0.15)
    return Figure(
        'person',
        float(rng.uniform(1.5, 1.95)),
        BACKGROUND,
        (shirt, trousers, shoes, skin, hair),
        float(rng.uniform(0.85, 1.3)),
        f'cloth_{int(rng.integers(NUM_CLOTHS - 1))}',
        0.0,
    )


def random_posture(rng: np.random.Generator, *, person: bool = False) -> Posture:
    """Draw a posture: standing, walking, crouching, kicking, or fallen for robots."""
    swing = float(rng.uniform(-0.5, 0.5))
    arms = (float(rng.uniform(-0.6, 0.6)), float(rng.uniform(-0.6, 0.6)))
    elbows = (float(rng.uniform(0, 1.4)), float(rng.uniform(0, 1.4)))
    spread, head = float(rng.uniform(0.05, 0.5)), float(rng.uniform(-1, 1))
    stand = Posture(
        (0.05, 0.05), (0.1, 0.1), arms, elbows, spread, float(rng.uniform(-0.05, 0.15)), head=head
    )
    pick = rng.random()
    if pick < 0.32:
        return stand
    if pick < 0.64:
        knees = (0.15 + max(0.0, -swing), 0.15 + max(0.0, swing))
        return replace(stand, hip=(swing + 0.1, -swing + 0.1), knee=knees)
    if person and pick < 0.9:
        bend = float(rng.uniform(1.0, 1.7))
        return replace(stand, hip=(bend, bend), knee=(bend, bend), lean=0.3)
    if pick < 0.78:
        bend = float(rng.uniform(0.3, 0.8))
        return replace(stand, hip=(bend, bend), knee=(2 * bend, 2 * bend), lean=0.2)
    if person:
        return replace(stand, lean=float(rng.uniform(0.5, 1.2)))
    lie = float(rng.choice([-1, 1])) * float(rng.uniform(1.3, 1.7))
    if rng.random() < 0.3:
        return replace(stand, hip=(swing, -swing), lie=0.0, roll=lie)
    return replace(stand, hip=(swing, 0.3), lie=lie)


def walking(phase: float, *, stride: float = 0.35) -> Posture:
    """A moment of a walk; ``phase`` in radians, 2 pi per two steps."""
    swing = stride * float(np.sin(phase))
    knees = (
        0.2 + 0.5 * max(0.0, float(np.cos(phase))),
        0.2 + 0.5 * max(0.0, -float(np.cos(phase))),
    )
    return Posture(
        (swing + 0.1, -swing + 0.1),
        knees,
        (-swing, swing),
        (0.5, 0.5),
        0.15,
        0.05,
        head=0.2 * swing,
    )


def figure_parts(figure: Figure, posture: Posture, place: np.ndarray, yaw: float) -> list[Part]:
    """Set a figure on the ground.

    Args:
        figure: Its look.
        posture: Its angles.
        place: (x, y) on the ground, metres.
        yaw: Where it faces, radians.

    Returns:
        Its parts in the world.
    """
    joints = _skeleton(figure, posture)
    whole = turn(yaw) @ tilt(posture.roll, 0) @ tilt(posture.lie, 1)
    names = list(joints)
    points = np.stack([joints[name] for name in names]) @ whole.T
    fallen = abs(posture.lie) + abs(posture.roll) > 0.6
    foot = 0.02 * figure.height
    clearance = 0.07 * figure.height * figure.stoutness if fallen else foot
    lowest = points[:, 2].min() if fallen else min(points[names.index(n), 2] for n in _ANKLES)
    points[:, 2] += clearance - lowest + (0 if fallen else 0.02 * figure.height)
    points[:, :2] += place
    placed = {name: points[index] for index, name in enumerate(names)}
    dress = DRESSERS[figure.build]
    return dress(figure, placed, whole @ tilt(posture.lean, 1), whole)


_ANKLES = ('ankle0', 'ankle1')


def _skeleton(figure: Figure, posture: Posture) -> Joints:
    """Joints in the body's frame, x forward, y left; the hips at the origin."""
    person = figure.build == 'person'
    h, wide = figure.height, figure.stoutness
    thigh = (0.25 if person else 0.2) * h
    shin = (0.24 if person else 0.2) * h
    trunk = (0.3 if person else 0.28) * h
    trunk_turn = tilt(posture.lean, 1)
    joints: Joints = {'pelvis': np.zeros(3), 'neck': trunk_turn @ [0, 0, trunk + 0.03 * h]}
    joints['head'] = trunk_turn @ [0.01 * h, 0, trunk + (0.11 if person else 0.13) * h]
    for index, side in enumerate((1, -1)):
        hip = np.array([0, side * (0.045 if person else 0.075) * h * wide, 0])
        angle, bend = posture.hip[index], posture.knee[index]
        knee = hip + thigh * np.array([np.sin(angle), 0, -np.cos(angle)])
        lower = angle - bend
        ankle = knee + shin * np.array([np.sin(lower), 0, -np.cos(lower)])
        shoulder = trunk_turn @ [0, side * (0.11 if person else 0.14) * h * wide, trunk]
        swing = trunk_turn @ tilt(side * posture.spread, 0) @ tilt(-posture.shoulder[index], 1)
        elbow = shoulder + swing @ np.array([0, 0, -0.16 * h])
        bent = swing @ tilt(-posture.elbow[index], 1)
        hand = elbow + bent @ np.array([0, 0, -0.16 * h])
        joints |= {f'hip{index}': hip, f'knee{index}': knee, f'ankle{index}': ankle}
        joints |= {f'shoulder{index}': shoulder, f'elbow{index}': elbow, f'hand{index}': hand}
    return joints
