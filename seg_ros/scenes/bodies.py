"""What a skeleton is dressed in: a person, or one of three builds of humanoid robots."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from seg_ros.scenes.parts import (
    UPRIGHT,
    Color,
    Part,
    Shape,
    axes_along,
    limb,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Build = Literal['shell', 'brackets', 'slim', 'person']
Joints = dict[str, np.ndarray]


@dataclass(frozen=True)
class Head:
    """What a robot's head looks like; from behind many are as round and white as a ball.

    Attributes:
        size: Relative to the usual.
        rounded: An ellipsoid, else a box.
        visor: RGB of the face.
        eyes: Two dark eyes in place of a visor.
    """

    size: float = 1.0
    rounded: bool = True
    visor: Color = (0.1, 0.1, 0.1)
    eyes: bool = False


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
        skull: Of a robot.
        hands: RGB.
        caps: Rounded caps over knees and elbows.
    """

    build: Build
    height: float
    label: int
    colors: tuple[Color, Color, Color, Color, Color] = field(repr=False)
    stoutness: float = 1.0
    cloth: str = ''
    gloss: float = 0.2
    skull: Head = Head()
    hands: Color = (0.1, 0.1, 0.1)
    caps: bool = False


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
    body, second, feet, _, marker = figure.colors
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
        *_head(figure, at['head'], trunk, 0.08 * h),
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
            Part(
                'sphere', (0.036 * h,) * 3, at[f'hand{i}'], UPRIGHT, figure.hands, label, '', gloss
            ),
            _foot(figure, at[f'ankle{i}'], whole, feet),
        ]
    return parts


def _dress_brackets(
    figure: Figure, at: Joints, trunk: np.ndarray, whole: np.ndarray
) -> list[Part]:
    """Servo motors between metal plates."""
    h, w, label = figure.height, figure.stoutness * figure.height, figure.label
    body, second, feet, _, marker = figure.colors
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
        *_head(figure, at['head'], trunk, 0.055 * h),
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
    body, second, feet, _, marker = figure.colors
    gloss = figure.gloss
    chest = at['neck'] - 0.07 * h * trunk[:, 2]
    parts = [
        limb(at['pelvis'], chest, 0.075 * w, body, label, shape='box', depth=0.05 * w),
        Part(
            'box', (0.06 * w, 0.115 * w, 0.075 * h), chest, trunk, body, label, figure.cloth, gloss
        ),
        Part('box', (0.064 * w, 0.05 * w, 0.035 * h), chest, trunk, marker, label),
        limb(at['neck'], at['head'], 0.022 * h, second, label),
        *_head(figure, at['head'], trunk, 0.068 * h),
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
                'ellipsoid',
                (0.03 * h, 0.02 * h, 0.035 * h),
                at[f'hand{i}'],
                trunk,
                figure.hands,
                label,
                '',
                gloss,
            ),
            _foot(figure, at[f'ankle{i}'], whole, feet),
        ]
    return parts


def _head(figure: Figure, place: np.ndarray, trunk: np.ndarray, radius: float) -> list[Part]:
    """Skull and face."""
    skull, label, gloss = figure.skull, figure.label, figure.gloss
    r = radius * skull.size
    color = figure.colors[3]
    shape: Shape = 'ellipsoid' if skull.rounded else 'box'
    size = (1.0 * r, 0.92 * r, 1.02 * r) if skull.rounded else (0.8 * r, 0.9 * r, 0.8 * r)
    parts = [Part(shape, size, place, trunk, color, label, '', gloss)]
    front = trunk @ [0.22 * r if skull.rounded else 0.1 * r, 0, 0.1 * r]
    if skull.eyes:
        for side in (-1, 1):
            eye = place + trunk @ [0.82 * size[0], side * 0.42 * r, 0.15 * r]
            parts.append(
                Part('sphere', (0.17 * r,) * 3, eye, trunk, (0.03,) * 3, label, '', gloss)
            )
    elif skull.visor != color:
        face = (0.88 * size[0], 0.72 * size[1], 0.55 * size[2])
        parts.append(Part(shape, face, place + front, trunk, skull.visor, label, '', gloss))
    return parts


def _joints(figure: Figure, at: Joints, i: str, radius: float) -> list[Part]:
    across = at['hip0'] - at['hip1']
    axis = axes_along(across)
    size = (radius, radius, 1.1 * radius)
    color, label = figure.colors[1], figure.label
    parts = [
        Part('cylinder', size, at[f'{name}{i}'], axis, color, label)
        for name in ('hip', 'knee', 'shoulder')
    ]
    if figure.caps:
        cap = (1.15 * radius,) * 3
        parts += [
            Part('sphere', cap, at[f'{name}{i}'], axis, figure.colors[0], label, '', figure.gloss)
            for name in ('knee', 'shoulder', 'elbow')
        ]
    return parts


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
