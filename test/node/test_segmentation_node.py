from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float64, String

from test.conftest import stripes, write_primary_model
from test.node.conftest import image_message, labels_of, node_process, wait_for

pytestmark = pytest.mark.ros

MASK = '/segmentation/label_mask'  # of the node that the tests of this module share
OWN_MASK = '/own/segmentation/label_mask'  # of a node that a test starts for itself


@pytest.mark.parametrize('reliable', [True, False])
@pytest.mark.parametrize(('encoding', 'padding'), [('rgb8', 0), ('bgr8', 0), ('bgr8', 37)])
def test_labels_carry_the_header_and_the_classes(robot, segmentation, reliable, encoding, padding):
    image, labels = stripes()
    robot.listen(MASK)
    camera = robot.camera(reliable=reliable)
    header = robot.header()
    answer = robot.ask(camera, image_message(image, header, encoding, padding), MASK)
    assert (answer.encoding, answer.height, answer.width) == ('mono8', 48, 64)
    np.testing.assert_array_equal(labels_of(answer), labels)


def test_every_output_is_consistent_with_the_labels(robot, segmentation):
    image, labels = stripes()
    topics = {
        name: f'/segmentation/{name}'
        for name in ('confidence', 'mask/green', 'color_mask', 'overlay')
    }
    robot.listen(MASK)
    for topic in topics.values():
        robot.listen(topic)
    robot.listen('/segmentation/label_mask/compressed', CompressedImage)
    robot.listen('/segmentation/debug/processing_time_ms', Float64)
    header = robot.header()
    camera, message = robot.camera(), image_message(image, header)

    found = {name: robot.ask(camera, message, topic) for name, topic in topics.items()}
    confidence = labels_of(found['confidence'])
    # logits are 0 and 230 / 255 * 10 inside a bar: softmax of the winner
    inside = 1 / (1 + 2 * np.exp(-230 / 255 * 10))
    assert confidence[24, 8] == round(inside * 255)
    np.testing.assert_array_equal(labels_of(found['mask/green']), (labels == 1) * 255)
    colors = np.frombuffer(found['color_mask'].data, np.uint8).reshape(48, 64, 3)
    np.testing.assert_array_equal(colors, np.eye(3, dtype=np.uint8)[labels] * 255)
    overlay = np.frombuffer(found['overlay'].data, np.uint8).reshape(48, 64, 3)
    assert found['overlay'].encoding == found['color_mask'].encoding == 'rgb8'
    np.testing.assert_allclose(overlay, colors * 0.5 + image * 0.5, atol=1)
    png = robot.message_with('/segmentation/label_mask/compressed', header)
    decoded = cv2.imdecode(np.frombuffer(png.data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, labels)
    times = wait_for(lambda: robot.received['/segmentation/debug/processing_time_ms'])
    assert times[0].data > 0


def test_class_names_reach_late_subscribers(robot, segmentation):
    robot.listen('/segmentation/class_names', String, latched=True)
    message = wait_for(lambda: robot.received['/segmentation/class_names'])[0]
    assert json.loads(message.data) == [
        {'id': 0, 'name': 'red', 'color': [255, 0, 0]},
        {'id': 1, 'name': 'green', 'color': [0, 255, 0]},
        {'id': 2, 'name': 'blue', 'color': [0, 0, 255]},
    ]


def test_camera_info_is_that_of_the_image_by_its_stamp(robot, segmentation):
    image, _ = stripes()
    topic = '/segmentation/camera_info'
    robot.listen(topic, CameraInfo)
    infos = robot.camera('/camera_info', CameraInfo)
    camera = robot.camera()
    first, second = (image_message(image, robot.header()) for _ in range(2))
    calibration = CameraInfo(width=128, height=96, binning_x=2, binning_y=2)
    calibration.k = [100.0, 0.0, 63.5, 0.0, 100.0, 47.5, 0.0, 0.0, 1.0]

    def answer_to(message, columns):
        """Image first, as image_transport sends them; then its calibration and another one."""
        camera.publish(message)
        for header, width in ((message.header, columns), (robot.header(), 999)):
            calibration.header, calibration.width = header, width
            infos.publish(calibration)
        return next((m for m in robot.received[topic] if m.header == message.header), None)

    assert wait_for(lambda: answer_to(first, 128)).width == 128
    answer = wait_for(lambda: answer_to(second, 64))
    assert (answer.width, answer.height, answer.binning_x) == (64, 48, 0)  # scaled on its way
    assert wait_for(lambda: answer_to(first, 128)).binning_x == 2  # verbatim


@pytest.mark.parametrize(
    'damage',
    [
        {'step': 10},
        {'data': b'\x00' * 17},
        {'height': 0},
        {'encoding': 'nonsense'},
        {'width': 100_000, 'height': 100_000, 'step': 300_000},
    ],
    ids=['step', 'length', 'empty', 'encoding', 'bomb'],
)
def test_a_malformed_frame_is_counted_and_the_next_one_served(robot, segmentation, damage):
    image, labels = stripes()
    robot.listen(MASK)
    camera = robot.camera()
    before = int(robot.diagnostics('/segmentation')[1]['rejected'])
    broken = image_message(image, robot.header())
    for field, value in damage.items():
        setattr(broken, field, value)
    camera.publish(broken)
    status, _ = robot.diagnostics('/segmentation', lambda v: int(v['rejected']) == before + 1)
    assert status.level == DiagnosticStatus.WARN
    header = robot.header()
    answer = robot.ask(camera, image_message(image, header), MASK)
    np.testing.assert_array_equal(labels_of(answer), labels)


def test_frames_are_accounted_for_and_the_newest_wins(robot, segmentation):
    image, _ = stripes(480, 640)
    robot.listen(MASK)
    camera = robot.camera()
    before = robot.diagnostics('/segmentation')[1]
    for _ in range(50):
        header = robot.header()
        camera.publish(image_message(image, header))
    robot.message_with(MASK, header)  # the last one is never dropped
    _, after = robot.diagnostics(
        '/segmentation', lambda v: int(v['received']) > int(before['received'])
    )
    counts = {
        key: int(after[key]) - int(before[key])
        for key in ('received', 'published', 'dropped', 'rejected')
    }
    assert counts['received'] == counts['published'] + counts['dropped'] + counts['rejected']
    assert counts['published'] >= 1
    assert counts['rejected'] == 0


def test_nothing_is_computed_while_nobody_listens(robot, segmentation):
    image, _ = stripes()
    camera = robot.camera()
    before = robot.diagnostics('/segmentation')[1]
    for _ in range(5):
        camera.publish(image_message(image, robot.header()))
    after = robot.diagnostics('/segmentation')[1]
    assert after['received'] == before['received']


def test_live_parameters_act_on_the_next_frame_and_others_are_refused(robot, segmentation):
    image, _ = stripes()
    image[:, :20] = 60  # grey: all classes alike, probability 1/3
    robot.listen(MASK)
    camera = robot.camera()
    try:
        assert robot.set_parameter('/segmentation', 'min_confidence', 1) == (True, '')
        assert robot.set_parameter('/segmentation', 'min_confidence', 0.9) == (True, '')
        header = robot.header()
        labels = labels_of(robot.ask(camera, image_message(image, header), MASK))
        assert (labels[:, :16] == 255).all()
        assert (labels[:, 48:] == 2).all()

        accepted, reason = robot.set_parameter('/segmentation', 'min_confidence', 1.5)
        assert not accepted
        assert 'min_confidence' in reason
        accepted, reason = robot.set_parameter('/segmentation', 'label_encoding', '16SC1')
        assert not accepted
        assert 'clean the node up first' in reason
    finally:
        robot.set_parameter('/segmentation', 'min_confidence', 0.0)


def test_compressed_images_are_taken(robot, primary_model):
    image, labels = stripes()
    with node_process(
        '/own',
        model=primary_model,
        backend='onnxruntime',
        image_transport='compressed',
        image_topics='[/front/image]',
    ):
        robot.listen(OWN_MASK)
        camera = robot.camera('/front/image/compressed', CompressedImage)
        for extension in ('.png', '.jpg'):
            header = robot.header()
            message = CompressedImage(header=header, format=extension[1:])
            message.data = cv2.imencode(extension, image[..., ::-1])[1].tobytes()
            answer = labels_of(robot.ask(camera, message, OWN_MASK))
            assert (answer == labels).mean() > 0.97  # JPEG blurs the edges of the bars
        camera.publish(CompressedImage(header=robot.header(), format='jpeg', data=b'\xff\xd8bad'))
        header = robot.header()
        camera.publish(CompressedImage(header=header, format='png', data=message.data))
        robot.message_with(OWN_MASK, header)


def test_the_input_follows_publishers_that_change_their_reliability(robot, segmentation):
    image, _ = stripes()
    robot.listen(MASK)
    for reliable in (True, False, True):
        camera = robot.camera(reliable=reliable, wait=False)
        seen = len(robot.received[MASK])

        def answered(camera=camera, seen=seen):
            camera.publish(image_message(image, robot.header()))
            return len(robot.received[MASK]) > seen

        wait_for(answered, what=f'labels of a camera with reliable={reliable}')
        robot.node.destroy_publisher(camera)


def test_best_effort_vga_frames_arrive_with_the_shipped_profile(robot, tmp_path):
    model = write_primary_model(tmp_path / 'vga', height=480, width=640)
    image, labels = stripes(480, 640)
    with node_process('/own', model=model, backend='onnxruntime', label_encoding='16SC1'):
        robot.listen(OWN_MASK, reliable=False)
        camera = robot.camera('/own/image', reliable=False)
        answered = 0
        for _ in range(10):
            header = robot.header()
            answer = robot.ask(camera, image_message(image, header), OWN_MASK)
            assert answer.encoding == '16SC1'
            np.testing.assert_array_equal(labels_of(answer), labels)
            answered += 1
        assert answered == 10


def test_several_cameras_publish_under_their_names(robot, primary_model):
    image, labels = stripes()
    topics = '[/front/image_raw, /rear/image_raw]'
    with node_process('/own', model=primary_model, backend='onnxruntime', image_topics=topics):
        for name in ('front', 'rear'):
            robot.listen(f'/own/segmentation/{name}/label_mask')
        for name, picture, expected in (
            ('front', image, labels),
            ('rear', image[:, ::-1], labels[:, ::-1]),
        ):
            header = robot.header()
            camera = robot.camera(f'/{name}/image_raw')
            topic = f'/own/segmentation/{name}/label_mask'
            answer = robot.ask(camera, image_message(picture, header), topic)
            np.testing.assert_array_equal(labels_of(answer), expected)


def test_lifecycle_is_driven_from_outside_without_autostart(robot, primary_model):
    image, _ = stripes()
    node = '/own/segmentation'
    with node_process('/own', model=primary_model, backend='onnxruntime', autostart=False):
        assert robot.state(node) == 'unconfigured'
        assert robot.set_parameter(node, 'model', 'no_such_model')[0]
        assert not robot.change_state(node, Transition.TRANSITION_CONFIGURE)
        assert robot.state(node) == 'unconfigured'
        assert robot.set_parameter(node, 'model', str(primary_model))[0]
        for _ in range(2):
            assert robot.change_state(node, Transition.TRANSITION_CONFIGURE)
            assert robot.change_state(node, Transition.TRANSITION_ACTIVATE)
            robot.listen(OWN_MASK)
            camera, header = robot.camera('/own/image'), robot.header()
            robot.ask(camera, image_message(image, header), OWN_MASK)
            assert robot.change_state(node, Transition.TRANSITION_DEACTIVATE)
            wait_for(lambda c=camera: not c.get_subscription_count(), what='unsubscribing')
            assert robot.change_state(node, Transition.TRANSITION_CLEANUP)
            robot.node.destroy_publisher(camera)


def test_qos_overrides_reach_the_publishers(robot, primary_model):
    override = {'qos_overrides./own/segmentation/label_mask.publisher.reliability': 'best_effort'}
    with node_process('/own', model=primary_model, backend='onnxruntime', **override):
        wait_for(lambda: robot.node.count_publishers(OWN_MASK))
        (info,) = robot.node.get_publishers_info_by_topic(OWN_MASK)
        assert info.qos_profile.reliability.name == 'BEST_EFFORT'


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_node_cleanly(robot, primary_model, number):
    image, _ = stripes()
    command = [sys.executable, '-m', 'seg_ros', 'segmentation_node', '--ros-args']
    command += ['-r', '__ns:=/own', '-p', f'model:={primary_model}', '-p', 'backend:=onnxruntime']
    process = subprocess.Popen(command)
    robot.listen(OWN_MASK)
    camera, header = robot.camera('/own/image'), robot.header()
    robot.ask(camera, image_message(image, header), OWN_MASK)
    process.send_signal(number)
    assert process.wait(timeout=5) == 0


@pytest.mark.parametrize(
    ('parameter', 'message'),
    [
        ('modle:=x', "unknown parameter 'modle'; did you mean 'model'"),
        ('min_confidence:=2.0', 'min_confidence'),
        ('label_encoding:=32SC1', 'available: mono8, 16SC1'),
        ('image_topics:=[a, a]', 'names a topic twice'),
    ],
)
def test_wrong_parameters_end_the_start_with_a_reason(primary_model, parameter, message):
    command = [sys.executable, '-m', 'seg_ros', 'segmentation_node', '--ros-args']
    command += ['-p', f'model:={primary_model}', '-p', parameter]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == os.EX_CONFIG
    assert message in done.stderr


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_the_node_process_holds_no_torch(robot, primary_model, backend):
    pytest.importorskip(backend, reason=f'{backend} is not installed')
    with node_process('/own', model=primary_model, backend=backend) as process:
        wait_for(lambda: robot.node.count_publishers(OWN_MASK))
        maps = Path(f'/proc/{process.pid}/maps').read_text(encoding='utf-8')
        assert 'openvino' in maps or 'onnxruntime' in maps
        assert 'libtorch' not in maps


def test_image_type_of_outputs_is_what_rviz_expects(robot, segmentation):
    image_type = f'{Image.__module__.split(".", maxsplit=1)[0]}/msg/Image'
    for name in ('label_mask', 'confidence', 'mask/red', 'color_mask', 'overlay'):
        topic = f'/segmentation/{name}'  # they are found one by one
        types = wait_for(
            lambda topic=topic: dict(robot.node.get_topic_names_and_types()).get(topic), what=topic
        )
        assert types == [image_type]
