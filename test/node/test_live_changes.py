"""What changes while the node runs: parameters, classes, the model itself."""

from __future__ import annotations

import json
import shutil
import threading
import time

import cv2
import numpy as np
import pytest
from rcl_interfaces.srv import DescribeParameters, GetParameters
from rclpy.parameter import parameter_value_to_python
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from seg_ros.model_card import GRAPH_FILE, ClassInfo
from test.conftest import stripes, write_primary_model
from test.node.conftest import image_message, labels_of, node_process, wait_for

pytestmark = pytest.mark.ros

NODE = '/live/segmentation'
MASK, NAMES = f'{NODE}/label_mask', f'{NODE}/class_names'
OTHER_CLASSES = (
    ClassInfo(10, 'crimson', (200, 0, 0)),
    ClassInfo(11, 'lime', (0, 200, 0)),
    ClassInfo(12, 'navy', (0, 0, 200)),
)


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    """Folder with two models of the same net: other classes, other ids."""
    folder = tmp_path_factory.mktemp('live')
    write_primary_model(folder / 'first')
    write_primary_model(folder / 'second', classes=OTHER_CLASSES)
    broken = write_primary_model(folder / 'broken', classes=OTHER_CLASSES)
    (broken / GRAPH_FILE).write_bytes(b'damaged')
    return folder


@pytest.fixture(scope='module')
def live(models):
    with node_process('/live', model=models / 'first', backend='onnxruntime') as process:
        yield process


@pytest.fixture
def camera(robot, live):
    """A connected camera; ``label_mask`` and ``class_names`` are listened to."""
    robot.listen(MASK)
    robot.listen(NAMES, String, latched=True)
    wait_for(lambda: robot.received[NAMES], what='class names')
    return robot.camera('/live/image')


@pytest.fixture
def first_model(robot, camera, models):
    """Go back to the first model and to the defaults after the test."""
    yield
    for name, value in (('class_remap', []), ('masks', ['all']), ('min_area_px', [])):
        assert robot.set_parameter(NODE, name, value) == (True, '')
    assert robot.set_parameter(NODE, 'model', str(models / 'first')) == (True, '')
    wait_for(lambda: 'red' in classes(robot), what='the first model')


def ask(robot, camera, image=None):
    """Send a frame and wait for its labels."""
    header = robot.header()
    message = image_message(stripes()[0] if image is None else image, header)
    return labels_of(robot.ask(camera, message, MASK))


def classes(robot):
    """The classes announced last: name -> id."""
    return {row['name']: row['id'] for row in json.loads(robot.received[NAMES][-1].data)}


def parameter(robot, name):
    request = GetParameters.Request(names=[name])
    answer = robot.call(GetParameters, f'{NODE}/get_parameters', request, attempts=4)
    return parameter_value_to_python(answer.values[0])


def test_a_remap_acts_on_the_next_frame_and_on_every_class_topic(robot, camera, first_model):
    assert robot.set_parameter(NODE, 'class_remap', ['green: red', 'blue: 7']) == (True, '')
    np.testing.assert_array_equal(np.unique(ask(robot, camera)), [0, 7])
    wait_for(lambda: classes(robot) == {'red': 0, 'blue': 7}, what='the remapped classes')
    wait_for(lambda: not robot.node.count_publishers(f'{NODE}/mask/green'), what='no green mask')
    robot.listen(f'{NODE}/mask/red')
    header = robot.header()
    message = image_message(stripes()[0], header)
    mask = labels_of(robot.ask(camera, message, f'{NODE}/mask/red'))
    np.testing.assert_array_equal(mask, (stripes()[1] < 2) * 255)

    accepted, reason = robot.set_parameter(NODE, 'class_remap', ['purple: red'])
    assert not accepted
    assert "no class 'purple'; there are red, green, blue" in reason
    assert classes(robot) == {'red': 0, 'blue': 7}

    assert robot.set_parameter(NODE, 'class_remap', ['green: void']) == (True, '')
    np.testing.assert_array_equal(np.unique(ask(robot, camera)), [0, 2, 255])


def test_specks_region_and_body_become_void(robot, camera, first_model, tmp_path):
    image, labels = stripes()
    image[20:24, 4:8] = (0, 0, 230)  # a blue speck of 16 pixels in the red bar
    body = np.zeros((48, 64), np.uint8)
    body[40:] = 255
    cv2.imwrite(str(tmp_path / 'body.png'), body)
    assert (ask(robot, camera, image)[21:23, 5:7] == 2).all()
    assert robot.set_parameter(NODE, 'min_area_px', ['blue: 60']) == (True, '')
    assert robot.set_parameter(NODE, 'roi', [0, 8, 0, 0]) == (True, '')
    assert robot.set_parameter(NODE, 'self_mask', str(tmp_path / 'body.png')) == (True, '')
    found = ask(robot, camera, image)
    expected = labels.copy()
    expected[:8] = expected[40:] = 255
    expected[16:28, 2:14] = found[16:28, 2:14]  # around the speck the logits are interpolated
    np.testing.assert_array_equal(found, expected)
    assert (found[21:23, 5:7] == 255).all()
    assert not (found[:, :16] == 2).any()
    for name, value, reason in (
        ('min_area_px', ['pink: 5'], "no class 'pink'"),
        ('roi', [0, 0], 'expected 4 values'),
        ('self_mask', '/nowhere.png', 'no file'),
    ):
        accepted, why = robot.set_parameter(NODE, name, value)
        assert not accepted
        assert reason in why
    assert robot.set_parameter(NODE, 'roi', [0, 0, 0, 0]) == (True, '')
    assert robot.set_parameter(NODE, 'self_mask', '') == (True, '')
    assert robot.set_parameter(NODE, 'min_area_px', []) == (True, '')
    assert (ask(robot, camera)[40:] < 3).all()


def test_published_masks_are_chosen_live(robot, camera, first_model):
    assert robot.set_parameter(NODE, 'masks', ['blue']) == (True, '')
    wait_for(lambda: not robot.node.count_publishers(f'{NODE}/mask/red'), what='no red mask')
    assert robot.node.count_publishers(f'{NODE}/mask/blue') == 1
    assert robot.set_parameter(NODE, 'masks', []) == (True, '')
    wait_for(lambda: not robot.node.count_publishers(f'{NODE}/mask/blue'), what='no blue mask')
    accepted, reason = robot.set_parameter(NODE, 'masks', ['pink'])
    assert not accepted
    assert 'there are red, green, blue, all' in reason


def test_another_model_takes_over_with_its_classes(robot, camera, first_model, models):
    assert set(np.unique(ask(robot, camera))) == {0, 1, 2}
    assert robot.set_parameter(NODE, 'model', str(models / 'second')) == (True, '')
    wait_for(lambda: 'navy' in classes(robot), what='the classes of the second model')
    np.testing.assert_array_equal(ask(robot, camera), stripes()[1] + 10)
    wait_for(lambda: parameter(robot, 'in_use.model_name') == 'second', what='in_use.model_name')
    wait_for(lambda: not robot.node.count_publishers(f'{NODE}/mask/red'), what='no red mask')
    assert robot.node.count_publishers(f'{NODE}/mask/navy') == 1


def test_no_result_goes_out_under_the_classes_of_another_model(robot, camera, first_model, models):
    """Frames stream while models change; masks and labels of one stamp tell the same model."""
    for name in ('red', 'navy'):
        robot.node.create_subscription(
            Image, f'{NODE}/mask/{name}', robot.received[name].append, 50
        )
    stop = threading.Event()

    def stream():
        while not stop.is_set():
            camera.publish(image_message(stripes()[0], robot.header()))
            time.sleep(0.01)

    thread = threading.Thread(target=stream)
    thread.start()
    try:
        for model, name in (('second', 'navy'), ('first', 'red')) * 2:
            assert robot.set_parameter(NODE, 'model', str(models / model)) == (True, '')
            wait_for(lambda name=name: name in classes(robot), what=f'{model} running')
            wait_for(lambda: robot.received[MASK])
            seen = len(robot.received[name])
            wait_for(lambda n=name, s=seen: len(robot.received[n]) > s + 2, what=f'masks {name}')
    finally:
        stop.set()
        thread.join()
    ids = {m.header.stamp.sec: set(np.unique(labels_of(m))) for m in robot.received[MASK]}
    assert len(ids) > 10
    assert all(found in ({0, 1, 2}, {10, 11, 12}) for found in ids.values())
    both = 0
    for name, own in (('red', {0, 1, 2}), ('navy', {10, 11, 12})):
        for mask in robot.received[name]:
            if found := ids.get(mask.header.stamp.sec):
                assert found == own
                both += 1
                np.testing.assert_array_equal(np.unique(labels_of(mask)), [0, 255])
    assert both > 4


def test_a_bad_model_is_refused_and_the_old_one_loses_no_frame(robot, camera, first_model, models):
    _, before = robot.diagnostics(NODE)
    accepted, reason = robot.set_parameter(NODE, 'model', str(models / 'nothing'))
    assert not accepted
    assert 'no model' in reason
    # The card is in order, its graph is not: that shows when it is loaded, in the background.
    assert robot.set_parameter(NODE, 'model', str(models / 'broken')) == (True, '')
    answered = 0
    while parameter(robot, 'model') != str(models / 'first') or answered < 3:
        assert set(np.unique(ask(robot, camera))) == {0, 1, 2}
        answered += 1
    status, values = robot.diagnostics(NODE, lambda v: v['model_name'] == 'first')
    assert 'does not match its card' in status.message
    for counter in ('rejected', 'dropped'):
        assert values[counter] == before[counter]
    assert 'red' in classes(robot)


def test_a_remap_for_the_new_model_comes_and_goes_with_it(robot, camera, first_model, models):
    remap = ('class_remap', ['navy: lime'])
    accepted, _ = robot.set_parameter(NODE, *remap)
    assert not accepted
    assert robot.set_parameters(NODE, model=str(models / 'broken'), class_remap=remap[1])[0]
    wait_for(lambda: parameter(robot, 'model') == str(models / 'first'), what='the old model')
    assert parameter(robot, 'class_remap') == []
    assert robot.set_parameters(NODE, model=str(models / 'second'), class_remap=remap[1])[0]
    wait_for(lambda: classes(robot) == {'crimson': 10, 'lime': 11}, what='the remapped classes')
    assert set(np.unique(ask(robot, camera))) == {10, 11}
    assert robot.set_parameters(NODE, model=str(models / 'first'), class_remap=[])[0]
    wait_for(lambda: 'red' in classes(robot), what='the first model')


def test_reload_answers_when_the_new_model_runs_or_why_not(robot, camera, first_model, models):
    folder = models / 'changing'
    shutil.copytree(models / 'second', folder)
    assert robot.set_parameter(NODE, 'model', str(folder)) == (True, '')
    wait_for(lambda: parameter(robot, 'in_use.model_name') == 'second')
    reload_model = (Trigger, f'{NODE}/reload_model', Trigger.Request())
    shutil.rmtree(folder)
    shutil.copytree(models / 'first', folder)
    answer = wait_for(lambda: (a := robot.call(*reload_model)).success and a, what='a reload')
    assert 'changing runs' in answer.message
    assert set(np.unique(ask(robot, camera))) == {0, 1, 2}
    (folder / GRAPH_FILE).unlink()
    answer = robot.call(*reload_model)
    assert not answer.success
    assert 'is listed on the card and missing' in answer.message
    assert set(np.unique(ask(robot, camera))) == {0, 1, 2}


def test_disabled_nothing_is_taken(robot, camera):
    before = robot.diagnostics(NODE)[1]
    request = SetBool.Request(data=False)
    assert robot.call(SetBool, f'{NODE}/enable', request).success
    seen = len(robot.received[MASK])
    camera.publish(image_message(stripes()[0], robot.header()))
    status, after = robot.diagnostics(NODE)
    assert (status.message, after['received']) == ('disabled', before['received'])
    assert len(robot.received[MASK]) == seen
    assert robot.call(SetBool, f'{NODE}/enable', SetBool.Request(data=True)).success
    ask(robot, camera)


def test_what_is_in_use_is_told_and_read_only(robot, camera):
    _, values = robot.diagnostics(NODE)
    for name in ('device', 'backend', 'precision', 'model_name', 'model_sha256'):
        assert parameter(robot, f'in_use.{name}') == values[name] != ''
    accepted, reason = robot.set_parameter(NODE, 'in_use.device', 'cuda')
    assert not accepted
    assert 'read-only' in reason
    names = ['in_use.device', 'min_confidence', 'masks']
    request = DescribeParameters.Request(names=names)
    answer = robot.call(DescribeParameters, f'{NODE}/describe_parameters', request, attempts=4)
    in_use, confidence, masks = answer.descriptors
    assert in_use.read_only
    assert confidence.floating_point_range[0].to_value == 1.0
    assert all(entry.description for entry in (in_use, confidence, masks))
