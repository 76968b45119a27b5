"""What the pixels of a rendered scene can be: one list for data set, bag and models."""

from __future__ import annotations

from seg_ros.model_card import ClassInfo

BACKGROUND, BALL, LINE, FIELD, GOAL, ROBOT = range(6)

SCENE_CLASSES: tuple[ClassInfo, ...] = (
    ClassInfo(BACKGROUND, 'background', (40, 40, 40)),
    ClassInfo(BALL, 'ball', (255, 80, 0)),
    ClassInfo(LINE, 'line', (255, 255, 255)),
    ClassInfo(FIELD, 'field', (0, 150, 0)),
    ClassInfo(GOAL, 'goal', (255, 220, 0)),
    ClassInfo(ROBOT, 'robot', (160, 60, 255)),
)
"""Ids 0 to 3 are those of the mini-UNet's data set; goal and robot may be left out."""


def scene_classes(num_classes: int) -> tuple[ClassInfo, ...]:
    """Choose the classes of a data set.

    Args:
        num_classes: 4, where goals and robots are background, or 6.

    Returns:
        The classes in the order of their ids.

    Raises:
        ValueError: If ``num_classes`` is neither.
    """
    if num_classes not in (4, 6):
        raise ValueError(
            f'{num_classes} classes; choose 4 (background, ball, line, field) '
            'or 6 (these, goal and robot)'
        )
    return SCENE_CLASSES[:num_classes]
