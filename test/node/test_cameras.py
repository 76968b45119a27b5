"""Several cameras on one engine, and what is not worth the engine's time."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Float64

from test.conftest import stripes
from test.node.conftest import header_now, image_message, labels_of, node_process, wait_for

pytestmark = pytest.mark.ros

NODE = '/rig/segmentation'
COUNTERS = ('received', 'published', 'dropped', 'rejected')


@pytest.fixture(scope='module')
def rig(primary_model):
    """A node with three cameras, which are run together when they come together."""
    pytest.importorskip('openvino', reason='openvino runs cameras together')
    topics = '[front/image_raw, rear/image_raw, third/image_raw]'
    parameters = {'image_topics': topics, 'batch_timeout_ms': 1000.0, 'precision': 'fp32'}
    with node_process('/rig', model=primary_model, backend='openvino', **parameters) as process:
        yield process


@pytest.fixture
def cameras(robot, rig):
    return {name: connect(robot, name) for name in ('front', 'rear')}


def connect(robot, name):
    """A camera of the rig; its labels and inference times are listened to, as the node knows."""
    mask, times = f'{NODE}/{name}/label_mask', f'{NODE}/{name}/debug/inference_time_ms'
    robot.listen(mask)
    robot.listen(times, Float64)
    camera = robot.camera(f'/rig/{name}/image_raw')

    def answered():
        robot.ask(camera, image_message(stripes()[0], robot.header()), mask)
        return robot.received[times]

    wait_for(answered, what=f'an inference time of {name}')
    return camera


def counts(values):
    return {name: int(values[name]) for name in COUNTERS}


def settled(robot):
    """The counters once every frame that came is accounted for."""

    def add_up(values):
        received, *fates = counts(values).values()
        return received == sum(fates)

    return counts(robot.diagnostics(NODE, add_up)[1])


def ask_together(robot, cameras, scenes):
    """Send an image into each camera at once: whether one batch answered them all.

    ``scenes`` holds the image and its true labels by the camera's name.
    """
    times = {name: robot.received[f'{NODE}/{name}/debug/inference_time_ms'] for name in cameras}
    before = {name: len(values) for name, values in times.items()}
    headers = {name: robot.header() for name in cameras}
    for name, camera in cameras.items():
        camera.publish(image_message(scenes[name][0], headers[name]))
    for name, header in headers.items():
        answer = robot.message_with(f'{NODE}/{name}/label_mask', header)
        np.testing.assert_array_equal(labels_of(answer), scenes[name][1])
    wait_for(lambda: all(len(times[name]) > before[name] for name in cameras), what='all times')
    # A batch's time is shared out evenly; two runs never take the same time to the bit.
    return len({values[-1].data for values in times.values()}) == 1


def test_cameras_that_come_together_are_run_together(robot, cameras):
    image, labels = stripes()
    scenes = {
        'front': (image, labels),
        'rear': (image[:, ::-1], labels[:, ::-1]),
        'third': (image[::-1], labels),
    }
    everyone = {**cameras, 'third': connect(robot, 'third')}
    wait_for(lambda: ask_together(robot, everyone, scenes), what='one batch of three frames')


def test_a_camera_that_dies_neither_breaks_up_the_batch_nor_holds_it_up(robot, cameras):
    third = connect(robot, 'third')
    scenes = dict.fromkeys(('front', 'rear', 'third'), stripes())
    everyone = {**cameras, 'third': third}
    wait_for(lambda: ask_together(robot, everyone, scenes), what='a batch of three')
    robot.node.destroy_publisher(third)
    wait_for(lambda: ask_together(robot, cameras, scenes), what='a batch of the two that are left')

    def fresh_labels():
        headers = {name: header_now(robot.node) for name in cameras}
        for name, camera in cameras.items():
            camera.publish(image_message(stripes()[0], headers[name]))
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            masks = {name: list(robot.received[f'{NODE}/{name}/label_mask']) for name in cameras}
            if all(headers[name] in [m.header for m in masks[name]] for name in cameras):
                return True
            time.sleep(0.01)
        return False

    try:
        # Frames that wait for the third one, a second each, grow too old.
        assert robot.set_parameter(NODE, 'max_age_s', 0.8) == (True, '')
        wait_for(lambda: all(fresh_labels() for _ in range(3)), what='labels that did not wait')
    finally:
        robot.set_parameter(NODE, 'max_age_s', 0.0)


def test_a_broken_frame_of_a_batch_costs_the_others_nothing(robot, cameras):
    image, labels = stripes()
    before = settled(robot)
    broken = image_message(image, robot.header())
    broken.step = 7
    cameras['front'].publish(broken)
    header = robot.header()
    cameras['rear'].publish(image_message(image, header))
    answer = robot.message_with(f'{NODE}/rear/label_mask', header)
    np.testing.assert_array_equal(labels_of(answer), labels)
    _, values = robot.diagnostics(NODE, lambda v: int(v['rejected']) == before['rejected'] + 1)
    assert counts(values)['published'] == before['published'] + 1


def test_a_camera_that_floods_and_one_that_is_dead_leave_the_others_their_turn(robot, cameras):
    image, _ = stripes()
    stop = threading.Event()

    def flood():
        while not stop.is_set():
            cameras['front'].publish(image_message(image, robot.header()))
            time.sleep(0.002)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        for _ in range(5):
            header = robot.header()
            cameras['rear'].publish(image_message(image, header))
            robot.message_with(f'{NODE}/rear/label_mask', header)
    finally:
        stop.set()
        thread.join()
    assert settled(robot)['dropped'] > 0


def test_without_calibration_there_is_none_and_no_error(robot, cameras):
    topic = f'{NODE}/front/camera_info'
    robot.listen(topic, CameraInfo)
    before = settled(robot)
    header = robot.header()
    cameras['front'].publish(image_message(stripes()[0], header))
    robot.message_with(f'{NODE}/front/label_mask', header)
    _, values = robot.diagnostics(NODE, lambda v: int(v['published']) > before['published'])
    assert counts(values)['rejected'] == before['rejected']
    assert robot.received[topic] == []


def test_max_rate_thins_out_each_camera_whatever_its_stamps(robot, cameras):
    image, _ = stripes()
    before = settled(robot)
    try:
        assert robot.set_parameter(NODE, 'max_rate', 0.5) == (True, '')
        for name in ('front', 'rear'):
            for age_s in (0, 100, -100, 5):  # stamps jump as those of a bag that loops
                cameras[name].publish(image_message(image, header_now(robot.node, age_s)))
                time.sleep(0.05)
        robot.diagnostics(NODE, lambda v: int(v['received']) == before['received'] + 8)
        assert settled(robot)['published'] == before['published'] + 2
        assert robot.set_parameter(NODE, 'max_rate', 0) == (True, '')
        header = robot.header()
        cameras['front'].publish(image_message(image, header))
        robot.message_with(f'{NODE}/front/label_mask', header)
    finally:
        robot.set_parameter(NODE, 'max_rate', 0.0)


def test_old_frames_are_dropped_and_counted(robot, cameras):
    image, _ = stripes()
    stale = int(robot.diagnostics(NODE)[1]['stale'])
    try:
        assert robot.set_parameter(NODE, 'max_age_s', 5.0) == (True, '')
        old = header_now(robot.node, 60)
        cameras['front'].publish(image_message(image, old))
        robot.diagnostics(NODE, lambda v: int(v['stale']) == stale + 1)
        for age_s in (0, -60):  # from the future: the clock or the bag jumped back
            header = header_now(robot.node, age_s)
            cameras['front'].publish(image_message(image, header))
            robot.message_with(f'{NODE}/front/label_mask', header)
    finally:
        robot.set_parameter(NODE, 'max_age_s', 0.0)
    stamps = [m.header.stamp for m in robot.received[f'{NODE}/front/label_mask']]
    assert old.stamp not in stamps


def test_a_bag_that_loops_in_simulated_time_goes_on(robot, primary_model):
    image, _ = stripes()
    parameters = {'use_sim_time': True, 'max_age_s': 0.5, 'max_rate': 1000.0}
    with node_process('/own', model=primary_model, backend='onnxruntime', **parameters):
        robot.listen('/own/segmentation/label_mask')
        clock = robot.node.create_publisher(Clock, '/clock', 1)
        camera = robot.camera('/own/image')
        wait_for(clock.get_subscription_count, what='a node that listens to the clock')
        for seconds in (100, 101, 102, 100, 101):
            time_now = Clock()
            time_now.clock.sec = seconds
            header = robot.header()
            header.stamp.sec, header.stamp.nanosec = seconds, 0

            def answered(time_now=time_now, header=header):
                clock.publish(time_now)
                camera.publish(image_message(image, header))
                return robot.received['/own/segmentation/label_mask']

            wait_for(answered, what=f'labels at {seconds} s')
            robot.received['/own/segmentation/label_mask'].clear()
