"""A ball is round and lies on the ground."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from seg_ros.model_card import VOID_ID, ClassInfo
from seg_ros.pseudo_labels import check_balls, pseudo_labels_of_pitch

BACKGROUND, BALL, LINE, FIELD = range(4)
CLASSES = tuple(
    ClassInfo(number, name, (number, 0, 0))
    for number, name in enumerate(('background', 'ball', 'line', 'field'))
)


@pytest.fixture
def pitch() -> np.ndarray:
    """A wall over a field with a line."""
    labels = np.full((120, 160), FIELD, np.uint8)
    labels[:50] = BACKGROUND
    labels[90:94] = LINE
    return labels


def put_ball(labels: np.ndarray, x: int, y: int, radius: int = 8) -> np.ndarray:
    cv2.circle(labels, (x, y), radius, BALL, cv2.FILLED)
    return labels


@pytest.mark.parametrize(
    ('x', 'y'), [(40, 75), (100, 90), (60, 50)], ids=['field', 'line', 'horizon']
)
@pytest.mark.parametrize('radius', [3, 8])
def test_round_ball_on_the_ground_stays(pitch: np.ndarray, x: int, y: int, radius: int) -> None:
    labels = put_ball(pitch, x, y, radius)
    np.testing.assert_array_equal(check_balls(labels, CLASSES), labels)


def test_ball_before_a_wall_becomes_background(pitch: np.ndarray) -> None:
    checked = check_balls(put_ball(pitch, 60, 20), CLASSES)
    assert not (checked == BALL).any()
    assert (checked[:50] == BACKGROUND).all()


@pytest.mark.parametrize('shape', [(1, 1), (5, 1), (1, 5)])
def test_a_ball_that_fills_a_few_pixels_has_no_ground_around_it(shape: tuple[int, int]) -> None:
    checked = check_balls(np.full(shape, BALL, np.uint8), CLASSES)
    assert (checked == BACKGROUND).all()


def test_long_patch_on_the_field_becomes_void(pitch: np.ndarray) -> None:
    cv2.rectangle(pitch, (40, 70), (80, 76), BALL, cv2.FILLED)  # a foot
    checked = check_balls(pitch, CLASSES)
    assert (checked[70:77, 40:81] == VOID_ID).all()
    assert (checked == VOID_ID).sum() == 7 * 41


def test_ball_half_before_the_wall_is_in_doubt(pitch: np.ndarray) -> None:
    checked = check_balls(put_ball(pitch, 60, 46), CLASSES)
    assert checked[46, 60] == VOID_ID


def test_patches_are_judged_one_by_one(pitch: np.ndarray) -> None:
    checked = check_balls(put_ball(put_ball(pitch, 60, 20), 120, 75), CLASSES)
    assert checked[20, 60] == BACKGROUND
    assert checked[75, 120] == BALL


def test_unsure_pixels_are_void_and_ghosts_background(pitch: np.ndarray) -> None:
    labels = put_ball(put_ball(pitch, 60, 20), 120, 75)
    confidence = np.full(labels.shape, 250, np.uint8)
    confidence[labels == BALL] = 150
    result = pseudo_labels_of_pitch(labels, confidence, CLASSES, min_confidence=0.9)
    assert result[20, 60] == BACKGROUND
    assert result[75, 120] == VOID_ID
    assert result[100, 10] == FIELD


def test_classes_of_a_road_are_refused(pitch: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r'the classes are \[.sky.\]'):
        check_balls(pitch, [ClassInfo(0, 'sky', (0, 0, 0))])
