"""What may befall a running robot, done to real processes over real DDS."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Float64, String

from test.conftest import stripes, write_primary_model
from test.evaluation.conftest import build_bag
from test.node.conftest import (
    _ros_context,  # noqa: F401 - a fixture
    image_message,
    labels_of,
    node_process,
    robot,  # noqa: F401 - a fixture
    segmentation,  # noqa: F401 - a fixture
    wait_for,
)
from test.robustness.faulty_models import FAILS_AT, write_failing_model, write_slow_model
from test.robustness.live_frames import settled
from test.robustness.vitals import look_at

pytestmark = pytest.mark.ros

MASK, OWN_MASK = '/segmentation/label_mask', '/own/segmentation/label_mask'
OWN = '/own/segmentation'
IMAGE, LABELS = stripes()


class OtherRobot:
    """A camera and a listener of another process; ``labels`` counts what it received."""

    def __init__(self, image_topic, label_topic):
        command = [sys.executable, '-m', 'test.robustness.camera_process']
        self.process = subprocess.Popen(
            [*command, image_topic, label_topic], stdout=subprocess.PIPE, text=True
        )
        self.labels = 0
        assert self.process.stdout.readline() == 'ready\n'
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self):
        for _ in self.process.stdout:
            self.labels += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()  # no goodbye: the others' middleware finds out by itself
        self.process.wait()


def ask(robot, camera, topic=MASK, image=IMAGE):  # noqa: F811
    """Send a picture and wait for its labels."""
    header = robot.header()
    return labels_of(robot.ask(camera, image_message(image, header), topic))


def ask_until_answered(robot, camera, topic):  # noqa: F811
    """Send pictures, as a camera does, until the first labels come; frames may be lost before."""
    robot.received[topic].clear()

    def answered():
        camera.publish(image_message(IMAGE, robot.header()))
        time.sleep(0.02)
        return robot.received[topic]

    return wait_for(answered, what=f'labels on {topic}')


def test_a_killed_camera_is_followed_by_the_next_one(robot, segmentation):  # noqa: F811
    robot.listen(MASK)
    before = look_at(segmentation.pid)
    for _ in range(2):
        robot.received[MASK].clear()
        with OtherRobot('/image', '-'):
            wait_for(lambda: len(robot.received[MASK]) >= 3, what='labels of the camera')
    np.testing.assert_array_equal(ask(robot, robot.camera()), LABELS)
    assert look_at(segmentation.pid).threads <= before.threads + 1


def test_two_cameras_on_one_topic_are_both_served(robot, segmentation):  # noqa: F811
    robot.listen(MASK)
    reliable, hasty = robot.camera(), robot.camera(reliable=False)
    ask_until_answered(robot, reliable, MASK)
    wait_for(hasty.get_subscription_count, what='a subscriber of the best-effort camera')
    for camera in (reliable, hasty, reliable, hasty):
        np.testing.assert_array_equal(ask(robot, camera), LABELS)


def test_a_late_listener_gets_the_classes_and_the_next_labels(robot, segmentation):  # noqa: F811
    camera = robot.camera()
    for _ in range(20):
        camera.publish(image_message(IMAGE, robot.header()))
    robot.listen('/segmentation/class_names', String, latched=True)
    robot.listen(MASK)
    wait_for(lambda: robot.received['/segmentation/class_names'], what='class names')
    np.testing.assert_array_equal(ask(robot, camera), LABELS)


def test_a_stalled_listener_holds_nobody_up(robot, segmentation):  # noqa: F811
    robot.listen(MASK)
    camera = robot.camera()
    with OtherRobot('-', MASK) as listener:

        def heard():
            ask(robot, camera)
            return listener.labels

        seen = wait_for(heard, what='labels at the other listener')
        listener.process.send_signal(signal.SIGSTOP)
        for _ in range(50):
            ask(robot, camera)
        listener.process.send_signal(signal.SIGCONT)
        wait_for(lambda: heard() > seen + 1, what='labels after the stall')


def test_participants_that_vanish_and_return_are_found_again(robot, segmentation):  # noqa: F811
    def come_and_vanish():
        with OtherRobot('/image', MASK) as other:
            wait_for(lambda: other.labels >= 3, what='labels at the other robot')

    come_and_vanish()
    before = look_at(segmentation.pid)
    come_and_vanish()
    robot.listen(MASK)
    ask(robot, robot.camera())
    assert look_at(segmentation.pid).threads <= before.threads + 1


def test_a_killed_node_is_replaced_while_the_camera_goes_on(robot, primary_model):  # noqa: F811
    arguments = [sys.executable, '-m', 'seg_ros', 'segmentation_node', '--ros-args']
    arguments += [
        '-r',
        '__ns:=/own',
        '-p',
        f'model:={primary_model}',
        '-p',
        'backend:=onnxruntime',
    ]
    robot.node.create_subscription(
        type(image_message(IMAGE, robot.header())), OWN_MASK, robot.received[OWN_MASK].append, 1
    )
    camera = robot.camera('/own/image', wait=False)
    for _ in range(2):
        process = subprocess.Popen(arguments)
        try:
            ask_until_answered(robot, camera, OWN_MASK)
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_inference_ends_the_node_with_status_0(
    robot,  # noqa: F811
    tmp_path,
    number,
):
    model = write_slow_model(tmp_path / 'slow', layers=24, width=128)
    with node_process('/own', model=model, backend='onnxruntime') as process:
        robot.listen(OWN_MASK)
        camera = robot.camera('/own/image')
        camera.publish(image_message(IMAGE, robot.header()))
        time.sleep(0.2)  # into the inference, which takes most of a second
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
        process.poll = lambda: None  # it ended on purpose


def test_an_engine_that_raises_costs_its_frame_and_no_other(robot, tmp_path):  # noqa: F811
    model = write_failing_model(tmp_path / 'failing')
    red = IMAGE.copy()
    red[0, 0] = FAILS_AT
    with node_process('/own', model=model, backend='onnxruntime'):
        robot.listen(OWN_MASK)
        camera = robot.camera('/own/image')
        np.testing.assert_array_equal(ask(robot, camera, OWN_MASK), LABELS)
        for expected in (1, 2, 3):
            camera.publish(image_message(red, robot.header()))
            robot.diagnostics(OWN, lambda v, e=expected: int(v['rejected']) == e and settled(v))
            np.testing.assert_array_equal(ask(robot, camera, OWN_MASK), LABELS)


def test_a_model_folder_may_vanish_and_be_replaced_under_a_running_node(
    robot,  # noqa: F811
    tmp_path,
):
    model = write_primary_model(tmp_path / 'model')
    with node_process('/own', model=model, backend='onnxruntime'):
        robot.listen(OWN_MASK)
        camera = robot.camera('/own/image')
        ask(robot, camera, OWN_MASK)
        shutil.rmtree(model)
        np.testing.assert_array_equal(ask(robot, camera, OWN_MASK), LABELS)
        for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
            assert robot.change_state(OWN, transition)
        assert not robot.change_state(OWN, Transition.TRANSITION_CONFIGURE)
        assert robot.state(OWN) == 'unconfigured'
        write_primary_model(model)
        graph = model / 'model.onnx'
        whole = graph.read_bytes()
        graph.write_bytes(whole[: len(whole) // 2])  # a copy that was interrupted
        assert not robot.change_state(OWN, Transition.TRANSITION_CONFIGURE)
        graph.write_bytes(whole)
        assert robot.change_state(OWN, Transition.TRANSITION_CONFIGURE)
        assert robot.change_state(OWN, Transition.TRANSITION_ACTIVATE)
        ask_until_answered(robot, camera, OWN_MASK)


def test_a_clock_that_jumps_stops_neither_labels_nor_diagnostics(
    robot,  # noqa: F811
    primary_model,
):
    latency = '/own/segmentation/debug/pipeline_latency_ms'
    with node_process('/own', model=primary_model, backend='onnxruntime', use_sim_time=True):
        robot.listen(OWN_MASK)
        robot.listen(latency, Float64)
        camera = robot.camera('/own/image')
        clock = robot.node.create_publisher(Clock, '/clock', 1)
        wait_for(clock.get_subscription_count, what='a subscriber of /clock')
        for seconds in (5000, 10, 90_000):  # bags that loop, a pause, a new start
            time_message = Clock()
            time_message.clock.sec = seconds
            clock.publish(time_message)
            before = int(robot.diagnostics(OWN, settled)[1]['published'])
            np.testing.assert_array_equal(ask(robot, camera, OWN_MASK), LABELS)
            robot.diagnostics(OWN, lambda v, b=before: int(v['published']) == b + 1)
        assert all(message.data >= 0 for message in robot.received[latency])


def test_a_disk_that_fills_while_a_bag_is_written_is_a_clear_error(tmp_path, primary_model):
    bag = build_bag(8).save(tmp_path / 'drive')
    size = sum(file.stat().st_size for file in bag.iterdir())
    command = [sys.executable, '-m', 'seg_ros', 'evaluate', '--quiet', '--bag', str(bag)]
    command += ['--model', str(primary_model), '--backend', 'onnxruntime']
    command += ['--label-topic', '/ground_truth/labels', '--write-bag', str(tmp_path / 'written')]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, 'PYTHONDONTWRITEBYTECODE': '1'},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2)),
    )
    assert done.returncode == 2, done.stderr
    assert 'Traceback' not in done.stderr
    assert 'written' in done.stderr
