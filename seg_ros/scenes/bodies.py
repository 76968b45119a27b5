"""What a skeleton is dressed in: a person, or one of three builds of humanoid robots.

Also robots without a skeleton.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from seg_ros.scenes.labels import ROBOT
from seg_ros.scenes.parts import (
    UPRIGHT,
    Color,
    Part,
    Shape,
    axes_along,
    grey,
    limb,
    tilt,
    turn,
    vivid,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Build = Literal['shell', 'brackets', 'slim', 'person']
Joints = dict[str, np.ndarray]


@dataclass(frozen=True)
class Figure:
    """What a robot or a person looks like.

    Attributes:
        build: Kind of body.
        height: Metres.
        label: Class id of its pixels.
        colors: RGB of body, second (trousers or joints), feet, head, marker.
        stoutness: Widths relative to the usual.
        cloth: Texture of body and limbs, '' for none.
        gloss: Of the shell.
    """

    build: Build
    height: float
    label: int
    colors: tuple[Color, Color, Color, Color, Color] = field(repr=False)
    stoutness: float = 1.0
    cloth: str = ''
    gloss: float = 0.2


def _dress_person(figure: Figure, at: Joints, trunk: np.ndarray, whole: np.ndarray) -> list[Part]:
    h, w, label = figure.height, figure.stoutness * figure.height, figure.label
    shirt, trousers, shoes, skin, hair = figure.colors
    cloth = figure.cloth
    parts = [
        Part(
            'ellipsoid',
            (0.07 * w, 0.105 * w, 0.19 * h),
            0.5 * (at['pelvis'] + at['neck']),
            trunk,
            shirt,
            label,
            cloth,
            0.0,
        ),
        Part(
            'ellipsoid',
            (0.07 * w, 0.09 * w, 0.07 * h),
            at['pelvis'],
            trunk,
            trousers,
            label,
            cloth,
            0.0,
        ),
        limb(at['neck'] - 0.02 * h * trunk[:, 2], at['head'], 0.03 * h, skin, label),
        Part('ellipsoid', (0.055 * h, 0.045 * h, 0.065 * h), at['head'], trunk, skin, label),
        Part(
            'ellipsoid',
            (0.055 * h, 0.05 * h, 0.055 * h),
            at['head'] + trunk @ [-0.012 * h, 0, 0.02 * h],
            trunk,
            hair,
            label,
        ),
    ]
    sleeve = skin if figure.stoutness > 1.1 else shirt
    for i in '01':
        parts += [
            limb(
                at[f'hip{i}'], at[f'knee{i}'], 0.045 * w, trousers, label, texture=cloth, gloss=0
            ),
            limb(
                at[f'knee{i}'], at[f'ankle{i}'], 0.034 * w, trousers, label, texture=cloth, gloss=0
            ),
            limb(
                at[f'shoulder{i}'],
                at[f'elbow{i}'],
                0.028 * w,
                shirt,
                label,
                texture=cloth,
                gloss=0,
            ),
            limb(at[f'elbow{i}'], at[f'hand{i}'], 0.023 * w, sleeve, label, gloss=0),
            Part('sphere', (0.026 * h,) * 3, at[f'hand{i}'], UPRIGHT, skin, label),
            Part(
                'ellipsoid',
                (0.075 * h, 0.028 * h, 0.024 * h),
                at[f'ankle{i}'] + whole @ [0.035 * h, 0, -0.014 * h],
                whole,
                shoes,
                label,
            ),
        ]
    return parts


def _dress_shell(figure: Figure, at: Joints, trunk: np.ndarray, whole: np.ndarray) -> list[Part]:
    """Rounded plastic shells over dark joints."""
    h, w, label = figure.height, figure.stoutness * figure.height, figure.label
    body, second, feet, head, marker = figure.colors
    cloth, gloss = figure.cloth, figure.gloss
    middle = 0.5 * (at['pelvis'] + at['neck'])
    parts = [
        Part(
            'ellipsoid',
            (0.09 * w, 0.13 * w, 0.14 * h),
            middle + 0.03 * h * trunk[:, 2],
            trunk,
            body,
            label,
            cloth,
            gloss,
        ),
        Part(
            'box',
            (0.055 * w, 0.09 * w, 0.05 * h),
            at['pelvis'] + 0.02 * h * trunk[:, 2],
            trunk,
            second,
            label,
            cloth,
        ),
        Part(
            'box',
            (0.02 * w, 0.06 * w, 0.045 * h),
            middle + trunk @ [0.075 * w, 0, 0.04 * h],
            trunk,
            marker,
            label,
            '',
            gloss,
        ),
        limb(at['neck'], at['head'], 0.03 * h, second, label),
        Part(
            'ellipsoid',
            (0.085 * h, 0.08 * h, 0.075 * h),
            at['head'],
            trunk,
            head,
            label,
            '',
            gloss,
        ),
        Part(
            'box',
            (0.02 * h, 0.055 * h, 0.018 * h),
            at['head'] + trunk @ [0.07 * h, 0, 0.012 * h],
            trunk,
            second,
            label,
        ),
    ]
    for i in '01':
        parts += _joints(figure, at, i, 0.043 * w)
        parts += [
            limb(at[f'hip{i}'], at[f'knee{i}'], 0.05 * w, body, label, texture=cloth, gloss=gloss),
            limb(
                at[f'knee{i}'], at[f'ankle{i}'], 0.044 * w, body, label, texture=cloth, gloss=gloss
            ),
            limb(
                at[f'shoulder{i}'],
                at[f'elbow{i}'],
                0.036 * w,
                marker if w < h else body,
                label,
                gloss=gloss,
            ),
            limb(at[f'elbow{i}'], at[f'hand{i}'], 0.033 * w, body, label, gloss=gloss),
            Part('sphere', (0.036 * h,) * 3, at[f'hand{i}'], UPRIGHT, second, label),
            _foot(figure, at[f'ankle{i}'], whole, feet),
        ]
    return parts


def _dress_brackets(
    figure: Figure, at: Joints, trunk: np.ndarray, whole: np.ndarray
) -> list[Part]:
    """Servo motors between metal plates."""
    h, w, label = figure.height, figure.stoutness * figure.height, figure.label
    body, second, feet, head, marker = figure.colors
    cloth = figure.cloth or 'cloth_3'
    middle = 0.5 * (at['pelvis'] + at['neck'])
    parts = [
        Part(
            'box',
            (0.06 * w, 0.1 * w, 0.1 * h),
            middle + 0.03 * h * trunk[:, 2],
            trunk,
            body,
            label,
            cloth,
        ),
        Part('box', (0.05 * w, 0.08 * w, 0.045 * h), at['pelvis'], trunk, second, label, cloth),
        Part(
            'box',
            (0.012 * w, 0.08 * w, 0.07 * h),
            middle + trunk @ [0.072 * w, 0, 0.03 * h],
            trunk,
            marker,
            label,
        ),
        limb(at['neck'], at['head'], 0.02 * h, second, label),
        Part('box', (0.05 * h, 0.055 * h, 0.05 * h), at['head'], trunk, head, label, ''),
        Part(
            'cylinder',
            (0.018 * h, 0.018 * h, 0.02 * h),
            at['head'] + trunk @ [0.05 * h, 0, 0],
            trunk @ tilt(np.pi / 2, 1),
            second,
            label,
        ),
    ]
    for i in '01':
        parts += _joints(figure, at, i, 0.034 * w)
        for start, end, width in (('hip', 'knee', 0.036), ('knee', 'ankle', 0.034)):
            a, b = at[f'{start}{i}'], at[f'{end}{i}']
            along = axes_along(b - a)
            for side in (-1, 1):
                shift = along[:, 1] * side * width * w
                parts.append(
                    limb(a + shift, b + shift, 0.008 * w, body, label, shape='box', depth=0.03 * w)
                )
            parts.append(
                limb(
                    0.7 * a + 0.3 * b,
                    0.3 * a + 0.7 * b,
                    0.026 * w,
                    second,
                    label,
                    shape='box',
                    texture=cloth,
                )
            )
        parts += [
            limb(at[f'shoulder{i}'], at[f'elbow{i}'], 0.024 * w, body, label, shape='box'),
            limb(at[f'elbow{i}'], at[f'hand{i}'], 0.021 * w, second, label, shape='box'),
            _foot(figure, at[f'ankle{i}'], whole, feet),
        ]
    return parts


def _dress_slim(figure: Figure, at: Joints, trunk: np.ndarray, whole: np.ndarray) -> list[Part]:
    """Straight printed limbs and a tapered chest."""
    h, w, label = figure.height, figure.stoutness * figure.height, figure.label
    body, second, feet, head, marker = figure.colors
    gloss = figure.gloss
    chest = at['neck'] - 0.07 * h * trunk[:, 2]
    parts = [
        limb(at['pelvis'], chest, 0.075 * w, body, label, shape='box', depth=0.05 * w),
        Part(
            'box', (0.06 * w, 0.115 * w, 0.075 * h), chest, trunk, body, label, figure.cloth, gloss
        ),
        Part('box', (0.064 * w, 0.05 * w, 0.035 * h), chest, trunk, marker, label),
        limb(at['neck'], at['head'], 0.022 * h, second, label),
        Part(
            'ellipsoid',
            (0.062 * h, 0.055 * h, 0.078 * h),
            at['head'],
            trunk,
            head,
            label,
            '',
            gloss,
        ),
        Part(
            'box',
            (0.015 * h, 0.05 * h, 0.02 * h),
            at['head'] + trunk @ [0.052 * h, 0, 0.01 * h],
            trunk,
            marker if w > h else second,
            label,
        ),
    ]
    for i in '01':
        parts += _joints(figure, at, i, 0.033 * w)
        parts += [
            limb(
                at[f'hip{i}'],
                at[f'knee{i}'],
                0.038 * w,
                body,
                label,
                shape='ellipsoid',
                depth=0.045 * w,
                gloss=gloss,
            ),
            limb(at[f'hip{i}'], at[f'knee{i}'], 0.022 * w, second, label, shape='box'),
            limb(at[f'knee{i}'], at[f'ankle{i}'], 0.032 * w, body, label, gloss=gloss),
            limb(at[f'shoulder{i}'], at[f'elbow{i}'], 0.026 * w, body, label, gloss=gloss),
            limb(at[f'elbow{i}'], at[f'hand{i}'], 0.022 * w, body, label, gloss=gloss),
            Part(
                'ellipsoid', (0.03 * h, 0.02 * h, 0.035 * h), at[f'hand{i}'], trunk, second, label
            ),
            _foot(figure, at[f'ankle{i}'], whole, feet),
        ]
    return parts


def _joints(figure: Figure, at: Joints, i: str, radius: float) -> list[Part]:
    across = at['hip0'] - at['hip1']
    axis = axes_along(across)
    size = (radius, radius, 1.1 * radius)
    return [
        Part('cylinder', size, at[f'{name}{i}'], axis, figure.colors[1], figure.label)
        for name in ('hip', 'knee', 'shoulder')
    ]


def _foot(figure: Figure, ankle: np.ndarray, whole: np.ndarray, color: Color) -> Part:
    h = figure.height
    size = (0.1 * h, 0.06 * h * min(figure.stoutness, 1.1), 0.02 * h)
    shape: Shape = 'box' if figure.build != 'shell' or figure.gloss < 0.3 else 'ellipsoid'
    return Part(shape, size, ankle + whole @ [0.02 * h, 0, -0.02 * h], whole, color, figure.label)


DRESSERS: dict[str, Callable[[Figure, Joints, np.ndarray, np.ndarray], list[Part]]] = {
    'person': _dress_person,
    'shell': _dress_shell,
    'brackets': _dress_brackets,
    'slim': _dress_slim,
}


def wheeled_robot(rng: np.random.Generator, place: np.ndarray, yaw: float) -> list[Part]:
    """A robot of the middle-size league: a dark base, a coloured cover, a camera on top."""
    dark, team = grey(rng, 0.02, 0.15), vivid(rng)
    base_height = float(rng.uniform(0.12, 0.25))
    here = np.array([place[0], place[1], 0.0])
    axes = turn(yaw)

    def part(shape: Shape, size: tuple[float, float, float], z: float, color: Color) -> Part:
        return Part(shape, size, here + np.array([0, 0, z]), axes, color, ROBOT, 'cloth_3', 0.1)

    parts = [
        part('cylinder', (0.26, 0.26, base_height / 2), 0.03 + base_height / 2, dark),
        part('box', (0.17, 0.17, 0.18), base_height + 0.2, team if rng.random() < 0.7 else dark),
        part('cylinder', (0.1, 0.1, 0.12), base_height + 0.42, dark),
        part('cylinder', (0.05, 0.05, 0.06), base_height + 0.56, dark),
        part('ellipsoid', (0.06, 0.06, 0.03), base_height + 0.64, dark),
    ]
    for side in (-1, 1):
        offset = axes @ [0.24, side * 0.12, 0]
        parts.append(
            Part(
                'box',
                (0.09, 0.03, 0.05),
                here + offset + np.array([0, 0, 0.12]),
                axes,
                dark,
                ROBOT,
            )
        )
    return parts
