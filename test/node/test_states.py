"""What a user is told of the state of a running node, in diagnostics and in the log."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import Log
from sensor_msgs.msg import CompressedImage

from test.conftest import stripes
from test.node.conftest import header_now, image_message, node_process, wait_for
from test.robustness.faulty_models import write_undefined_model

pytestmark = pytest.mark.ros

OWN, MASK = '/own/segmentation', '/own/segmentation/label_mask'
OF_A_FRAME = {
    'processing_time_ms', 'inference_time_ms', 'is_processing_time_ms_in_expected_range',
    'consecutive_processing_delay_ms', 'last_stamp_age_ms',
}  # fmt: skip
# A camera driver under Fast DDS's own settings: 512 KiB of shared memory, fewer than an image.
DRIVER = """
import sys, time
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('driver')
qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
publisher = node.create_publisher(Image, sys.argv[1], qos)
image = Image(width=1280, height=960, encoding='rgb8', step=3840, data=bytes(1280 * 960 * 3))
while True:
    publisher.publish(image)
    time.sleep(0.1)
"""


@pytest.fixture
def node(robot, primary_model):
    """A node of its own; its log is listened to."""
    robot.listen('/rosout', Log, latched=True)
    with node_process('/own', model=primary_model, backend='onnxruntime') as process:
        yield process


def told(robot, state, level=DiagnosticStatus.WARN):
    """Message and values of the diagnostics, once they are of a state and level."""
    found = []

    def is_so():
        found[:] = robot.diagnostics(OWN)
        return found[1]['state'] == state and found[0].level == level

    wait_for(is_so, what=f'the state {state!r}')
    return found[0].message, found[1]


def wait_for_log(robot, text):
    return wait_for(
        lambda: [m for m in list(robot.received['/rosout']) if text in m.msg], what=f'{text!r}'
    )


def test_without_a_publisher_the_user_is_told_what_is_published(robot, node):
    robot.camera('/front/image_raw', wait=False)
    message, _ = told(robot, 'waiting for a publisher')
    assert 'nobody publishes /own/image; sensor_msgs/msg/Image is published on /front' in message
    wait_for_log(robot, 'nobody publishes /own/image')


def test_that_only_compressed_images_are_published_is_said(robot, node):
    robot.camera('/own/image/compressed', CompressedImage, wait=False)
    message, _ = told(robot, 'waiting for a publisher')
    assert 'set the parameter image_transport to compressed' in message


def test_that_another_type_is_published_is_said(robot, node):
    robot.camera('/own/image', CompressedImage, wait=False)
    message, _ = told(robot, 'waiting for a publisher')
    assert '/own/image is published as another type than sensor_msgs/msg/Image' in message
    assert '/robot (sensor_msgs/msg/CompressedImage, reliable)' in message


def test_a_publisher_from_which_nothing_arrives_is_told_within_ten_seconds(robot, node):
    robot.camera('/own/image', reliable=False)
    began = time.monotonic()
    message, _ = told(robot, 'matched but nothing arrives')
    assert time.monotonic() - began < 10
    assert 'nothing arrives on /own/image from /robot (sensor_msgs/msg/Image, best_ef' in message
    wait_for_log(robot, 'nothing arrives on /own/image')


def test_a_sender_whose_images_do_not_fit_is_told_with_the_cure(robot, node):
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(('FASTRTPS', 'FASTDDS'))
    }
    command = [sys.executable, '-c', DRIVER, '/own/image']
    with ended(subprocess.Popen(command, env=environment)):
        wait_for(lambda: robot.node.count_publishers('/own/image'), what='the driver')
        found = []

        def is_told():
            found[:] = robot.diagnostics(OWN)
            return found[1]['state'] in ('matched but nothing arrives', 'much is lost on the way')

        wait_for(is_told, what='a word on lost images')
        message = found[0].message
    for part in ('from /driver (sensor_msgs/msg/Image, best_effort)', 'fastdds.xml'):
        assert part in message
    assert wait_for_log(robot, 'start the sender with')


@contextlib.contextmanager
def ended(process):
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_camera_that_stops_is_an_error_without_old_figures_and_one_that_goes_on_is_well(
    robot, node
):
    robot.listen(MASK)
    camera = robot.camera('/own/image')

    def ask():
        robot.ask(camera, image_message(stripes()[0], header_now(robot.node)), MASK)

    assert robot.set_parameter(OWN, 'error_stalled_s', 2.0) == (True, '')
    ask()
    message, values = told(robot, 'running', DiagnosticStatus.OK)
    assert (message, values.keys() >= OF_A_FRAME) == ('segmenting', True)
    message, values = told(robot, 'stalled', DiagnosticStatus.ERROR)
    assert 'no frame of image came for' in message
    assert not OF_A_FRAME & values.keys()
    assert wait_for_log(robot, 'no frame of image came')
    ask()
    told(robot, 'running', DiagnosticStatus.OK)
    assert wait_for_log(robot, 'images arrive and are worked on again')
    robot.received['/rosout'].clear()
    robot.node.destroy_publisher(camera)
    told(robot, 'waiting for a publisher')
    wait_for_log(robot, 'nobody publishes /own/image')
    assert not [m.msg for m in robot.received['/rosout'] if 'a callback failed' in m.msg]


def test_each_transition_is_logged_and_an_idle_node_is_well(robot, node):
    robot.listen(MASK)
    camera = robot.camera('/own/image')
    robot.ask(camera, image_message(stripes()[0], header_now(robot.node)), MASK)
    for transition, words in (
        (Transition.TRANSITION_DEACTIVATE, 'inactive: no image is taken'),
        (Transition.TRANSITION_CLEANUP, 'unconfigured: the model is unloaded'),
        (Transition.TRANSITION_CONFIGURE, 'ready after'),
        (Transition.TRANSITION_ACTIVATE, 'active: listens to image'),
    ):
        robot.received['/rosout'].clear()
        assert robot.change_state(OWN, transition)
        wait_for_log(robot, words)
        if transition == Transition.TRANSITION_DEACTIVATE:
            message, values = told(robot, 'inactive', DiagnosticStatus.OK)
            assert (message, OF_A_FRAME & values.keys()) == ('inactive', set())


def test_a_node_that_nobody_listens_to_says_so(robot, node):
    camera = robot.camera('/own/image')

    def said():
        camera.publish(image_message(stripes()[0], robot.header()))
        return robot.diagnostics(OWN)[0].message == 'nobody listens to any output'

    wait_for(said, what='that nobody listens')


def test_pixels_without_a_number_are_counted_and_told(robot, tmp_path):
    model = write_undefined_model(tmp_path / 'model')
    with node_process('/own', model=model, backend='onnxruntime'):
        robot.listen(MASK)
        camera = robot.camera('/own/image')
        answer = robot.ask(camera, image_message(stripes()[0], robot.header()), MASK)
        void = bytes(answer.data).count(255)
        status, values = robot.diagnostics(OWN, lambda v: int(v['invalid_px']) > 0)
    assert int(values['invalid_px']) % void == 0
    assert status.level == DiagnosticStatus.WARN
    assert f'NaN or infinity for {void} pixels' in status.message
