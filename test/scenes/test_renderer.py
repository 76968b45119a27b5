import subprocess
import sys

import numpy as np
import pytest

from seg_ros.scenes.camera import look
from seg_ros.scenes.labels import BACKGROUND, BALL, FIELD, GOAL, LINE, ROBOT
from seg_ros.scenes.parts import UPRIGHT, Part
from seg_ros.scenes.renderer import SceneRenderer
from test.scenes.conftest import plain_scene

# (x, y) in metres on the kid-size pitch, 9 x 6 m, circle radius 0.75 m
ON_LINES = [(0, 1.2), (0, -0.6), (0.75, 0), (0.53, 0.53), (2.0, 3.0), (2.5, 1.0)]
ON_FIELD = [(0.1, 1.2), (-0.1, -0.6), (0.9, 0), (0.4, 0.3), (2.0, 2.5), (2.9, 1.1), (2.0, 3.3)]
OUTSIDE = [(6.0, 0.5), (8.0, -2.0)]


def labels_at(scene, labels, places):
    pixels = scene.camera.project(np.array([(x, y, 0) for x, y in places], float))
    columns, rows = np.round(pixels).astype(int).T
    assert ((columns >= 0) & (columns < labels.shape[1])).all()
    return labels[rows, columns].tolist()


def box(label, x, y=0.0, half=(0.02, 0.3, 0.6)):
    return Part('box', half, np.array([x, y, half[2]]), UPRIGHT, (0.6,) * 3, label)


def ball(x, radius=0.11):
    return Part('sphere', (radius,) * 3, np.array([x, 0, radius]), UPRIGHT, (1, 1, 1), BALL)


def test_known_places_have_their_labels(renderer):
    scene = plain_scene()
    labels = renderer.see(scene).labels
    assert labels_at(scene, labels, ON_LINES) == [LINE] * len(ON_LINES)
    assert labels_at(scene, labels, ON_FIELD) == [FIELD] * len(ON_FIELD)
    assert labels_at(scene, labels, OUTSIDE) == [BACKGROUND] * len(OUTSIDE)
    assert (labels[0] == BACKGROUND).all(), 'the first row is above the horizon'


def test_a_line_is_as_wide_as_the_rules_say(renderer):
    down = plain_scene(position=np.array([0.0, 1.5, 1.0]), rotation=look(0.0, np.pi / 2, 0.0))
    labels = renderer.see(down).labels
    # 320 px per metre; the halfway line runs along the rows
    across = (labels == LINE).sum(axis=0)
    assert abs(int(np.median(across)) - 16) <= 1


def test_far_lines_are_not_broken(renderer):
    scene = plain_scene(position=np.array([-7.0, 0.4, 0.8]), rotation=look(0.0, 0.1, 0.0))
    labels = renderer.see(scene).labels
    across = np.array([(0.0, y, 0) for y in np.linspace(-2.5, 2.5, 300)])  # 7 m away
    columns, rows = np.round(scene.camera.project(across)).astype(int).T
    around = np.stack([labels[rows + shift, columns] == LINE for shift in (-1, 0, 1)])
    assert around.any(axis=0).all()


@pytest.mark.parametrize('lens', [{'fisheye': True}, {'k1': 0.15}], ids=['fisheye', 'barrel'])
def test_labels_follow_the_lens(renderer, lens):
    scene = plain_scene(**lens)
    labels = renderer.see(scene).labels
    local = (np.array([(x, y, 0) for x, y in ON_FIELD + ON_LINES]) - scene.camera.position) @ (
        scene.camera.rotation
    )
    plane = local[:, :2] / local[:, 2:]
    tangent = np.linalg.norm(plane, axis=1)
    if scene.camera.fisheye:
        radius = np.arctan(tangent)
    else:
        grid = np.linspace(0, 3, 30001)
        radius = np.interp(tangent, grid * (1 + 0.15 * grid**2), grid)
    pixels = plane / tangent[:, None] * radius[:, None] * 320 + (319.5, 239.5)
    columns, rows = np.round(pixels).astype(int).T
    inside = (columns >= 0) & (columns < 640) & (rows >= 0) & (rows < 480)
    assert inside.sum() >= 10
    expected = np.array([FIELD] * len(ON_FIELD) + [LINE] * len(ON_LINES))
    assert labels[rows[inside], columns[inside]].tolist() == expected[inside].tolist()


def test_the_ball_has_the_size_of_its_projection(renderer):
    scene = plain_scene([ball(0.0)], rotation=look(0.0, np.arctan2(1 - 0.11, 2.0), 0.0))
    seen = int((renderer.see(scene).labels == BALL).sum())
    distance = np.hypot(2.0, 1 - 0.11)
    area = np.pi * (320 * np.tan(np.arcsin(0.11 / distance))) ** 2
    assert seen == pytest.approx(area, rel=0.04)


@pytest.mark.parametrize('label', [ROBOT, BACKGROUND, GOAL])
def test_what_is_hidden_is_not_labelled(renderer, label):
    open_view = renderer.see(plain_scene([ball(1.0)])).labels
    assert (open_view == BALL).sum() > 50
    hidden = renderer.see(plain_scene([ball(1.0), box(label, 0.0)])).labels
    assert (hidden == BALL).sum() == 0
    assert (hidden[open_view == BALL] == label).all()


def test_a_line_behind_a_leg_is_no_line(renderer):
    open_view = renderer.see(plain_scene()).labels
    leg = box(BACKGROUND, -0.3, 0.9, (0.05, 0.05, 0.4))
    covered = renderer.see(plain_scene([leg])).labels
    lost = (open_view == LINE) & (covered != LINE)
    assert lost.sum() > 5
    assert set(covered[lost]) == {BACKGROUND}


def test_with_four_classes_goals_and_robots_are_background(renderer):
    parts = [box(ROBOT, 0.0, 0.5), box(GOAL, 0.0, -0.5)]
    six = renderer.see(plain_scene(parts)).labels
    four = SceneRenderer(4).see(plain_scene(parts)).labels
    assert {ROBOT, GOAL} <= set(np.unique(six))
    assert np.array_equal(four, np.where(six > FIELD, BACKGROUND, six))


def test_things_throw_shadows_on_the_ground(renderer):
    free = renderer.see(plain_scene())
    seen = renderer.see(plain_scene([box(ROBOT, 0.0)]))
    ground = (seen.labels == FIELD) & (free.labels == FIELD)
    darker = seen.light[ground].sum(axis=1) < 0.8 * free.light[ground].sum(axis=1)
    assert 50 < darker.sum() < 0.5 * ground.sum()


def test_other_numbers_of_classes_are_refused():
    with pytest.raises(ValueError, match='5 classes; choose 4'):
        SceneRenderer(5)


def test_triton_can_be_imported_after_rendering(renderer):
    pytest.importorskip('triton')
    code = (
        'from seg_ros.datasets.robocup_scenes import RobocupScenes\n'
        'RobocupScenes(length=1, width_px=64, height_px=64)[0]\n'
        'import triton'
    )
    done = subprocess.run([sys.executable, '-c', code], stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
