from __future__ import annotations

import cv2
import numpy as np
import pytest

from seg_ros.geometry import ball_candidates, drivable_edge, field_boundary

BACKGROUND, BALL, LINE, FIELD = range(4)
HEIGHT, WIDTH = 240, 320


def pitch(left_y=80, right_y=120):
    """Field below a straight border from the left to the right edge of the image."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    corners = [(0, left_y), (WIDTH - 1, right_y), (WIDTH - 1, HEIGHT - 1), (0, HEIGHT - 1)]
    cv2.fillPoly(labels, [np.array(corners)], FIELD)
    return labels


def border_at(polygon, x):
    upper = polygon[:-2]
    return np.interp(x, upper[:, 0], upper[:, 1])


def test_a_ball_is_found_with_its_circle_and_box():
    labels = pitch()
    cv2.circle(labels, (100, 180), 12, BALL, -1)
    (ball,) = ball_candidates(labels, BALL)
    assert ball.center == pytest.approx((100, 180), abs=0.6)
    assert ball.radius_px == pytest.approx(12, abs=1)
    assert ball.box == (88, 168, 25, 25)
    assert ball.score > 0.85


def test_round_and_certain_spots_come_first_and_specks_not_at_all():
    labels = pitch()
    cv2.circle(labels, (50, 180), 10, BALL, -1)
    cv2.rectangle(labels, (120, 150), (124, 220), BALL, -1)
    cv2.circle(labels, (250, 180), 10, BALL, -1)
    labels[30, 30] = BALL
    confidence = np.full(labels.shape, 255, np.uint8)
    confidence[:, 240:] = 128
    balls = ball_candidates(labels, BALL, confidence)
    assert [round(ball.center[0]) for ball in balls] == [50, 250, 122]
    assert balls[1].score == pytest.approx(balls[0].score * 128 / 255, rel=0.02)
    assert len(ball_candidates(labels, BALL, limit=1)) == 1
    assert ball_candidates(pitch(), BALL) == []


@pytest.mark.parametrize(('shape', 'count'), [((1, 1), 0), ((20, 1), 1), ((1, 20), 1)])
def test_images_of_one_row_or_column_have_balls_of_enough_pixels(shape, count):
    balls = ball_candidates(np.full(shape, BALL, np.uint8), BALL)
    assert len(balls) == count
    assert all(ball.box == (0, 0, shape[1], shape[0]) for ball in balls)


def test_a_hidden_half_keeps_the_radius():
    labels = pitch()
    cv2.circle(labels, (100, 180), 12, BALL, -1)
    labels[:, 100:] = FIELD
    (ball,) = ball_candidates(labels, BALL)
    assert ball.radius_px == pytest.approx(12, abs=1)


def test_the_border_of_the_field_is_its_upper_edge():
    polygon = field_boundary(pitch(80, 120), {LINE, FIELD})
    for x in (20, 160, 300):
        assert border_at(polygon, x) == pytest.approx(80 + 40 * x / 319, abs=1.5)
    np.testing.assert_array_equal(polygon[-2:, 1], HEIGHT - 1)
    assert polygon[0, 0] < 4
    assert polygon[-3, 0] > WIDTH - 5


def test_robots_lines_and_specks_do_not_move_the_border():
    labels = pitch(100, 100)
    clean = field_boundary(labels, {LINE, FIELD})
    labels[90:200, 140:175] = BACKGROUND  # a robot that reaches over the border
    labels[150:156] = LINE
    labels[20:26, 60:66] = FIELD  # something green in the stands
    labels[160:170, 30:40] = BALL
    polygon = field_boundary(labels, {LINE, FIELD})
    for x in (10, 63, 157, 300):
        assert border_at(polygon, x) == pytest.approx(border_at(clean, x), abs=1.5)


def test_the_corner_of_a_field_stays_a_corner():
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    corners = [(0, 160), (160, 80), (WIDTH - 1, 160), (WIDTH - 1, 239), (0, 239)]
    cv2.fillPoly(labels, [np.array(corners)], FIELD)
    polygon = field_boundary(labels, {FIELD})
    assert border_at(polygon, 160) == pytest.approx(80, abs=5)
    assert border_at(polygon, 80) == pytest.approx(120, abs=3)


def test_a_car_dents_the_edge_of_the_road():
    labels = pitch(100, 100)
    labels[100:180, 140:200] = BACKGROUND
    polygon = drivable_edge(labels, {FIELD})
    assert border_at(polygon, 170) == pytest.approx(180, abs=2)
    assert border_at(polygon, 60) == pytest.approx(100, abs=2)


@pytest.mark.parametrize('outline', [field_boundary, drivable_edge])
@pytest.mark.parametrize('fill', [BACKGROUND, 255])
def test_no_ground_is_an_empty_outline(outline, fill):
    labels = np.full((HEIGHT, WIDTH), fill, np.uint8)
    assert outline(labels, {FIELD}).shape == (0, 2)


@pytest.mark.parametrize('outline', [field_boundary, drivable_edge])
@pytest.mark.parametrize('shape', [(1, 1), (3, 5), (2, 400)])
def test_tiny_images_are_taken(outline, shape):
    labels = np.full(shape, FIELD, np.uint8)
    assert outline(labels, {FIELD}).shape[1] == 2
