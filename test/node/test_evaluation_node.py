"""The live evaluation in a process of its own, over real DDS."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from seg_ros import segmenter
from seg_ros.bags import Bag, header_stamp_ns
from seg_ros.evaluation.scoring import Scoring
from test.conftest import PRIMARY_CLASSES
from test.evaluation.conftest import IMAGE_TOPIC, LABEL_TOPIC, build_bag, scene
from test.node.conftest import node_process, wait_for

rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue  # noqa: E402
from rclpy.duration import Duration  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Header, String  # noqa: E402

from seg_ros.node.messages import from_class_names, to_class_names, to_image  # noqa: E402
from seg_ros.node.publisher import LATCHED  # noqa: E402

pytestmark = pytest.mark.ros


@contextlib.contextmanager
def process(command, *arguments, **environment):
    """Run a command of the package and kill it when the test ends early."""
    started = subprocess.Popen(
        [sys.executable, '-m', 'seg_ros', command, *map(str, arguments)],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate()


def parameters(namespace, **values):
    arguments = ['--ros-args', '-r', f'__ns:={namespace}']
    for name, value in values.items():
        arguments += ['-p', f'{name}:={value}']
    return arguments


def test_live_scores_equal_the_offline_ones_for_every_frame_received(tmp_path, primary_model):
    bag = build_bag(30).save(tmp_path / 'drive')
    report = tmp_path / 'report.json'
    remaps = ['-r', 'image:=/camera/image_raw', '-r', f'ground_truth/labels:={LABEL_TOPIC}']
    arguments = parameters(
        '/live', image_transport='compressed', quiet_after_s=2.0, start_within_s=30.0, json=report
    )
    tested = node_process(
        '/live',
        model=primary_model,
        backend='onnxruntime',
        image_topics='[/camera/image_raw]',
        image_transport='compressed',
    )
    with tested, process('evaluation_node', *arguments, *remaps) as evaluation:
        for line in evaluation.stderr:
            if 'ready:' in line:
                break
        known = ('--topics', IMAGE_TOPIC, LABEL_TOPIC, '--subscribers', 2, 1, '--wait', 30)
        with process('bag_player', bag, *known) as player:
            assert player.wait(timeout=60) == 0
        assert evaluation.wait(timeout=30) == 0
    live = json.loads(report.read_text())
    received = set(live['per_frame']['name'])
    # Frames that the node has before it knows of the evaluation are dropped: nobody listens yet.
    assert live['frames'] == live['scored'] == len(received) >= 5
    assert live['frames'] + live['dropped'] == 30

    net = segmenter.load(primary_model, backend='onnxruntime')
    expected = Scoring(net.card.classes)
    with Bag(bag) as recorded:
        labels = {
            header_stamp_ns(m.data): recorded.decode_labels(m)
            for m in recorded.read_messages([LABEL_TOPIC])
        }
        for message in recorded.read_messages([IMAGE_TOPIC]):
            stamp = header_stamp_ns(message.data)
            if str(stamp) in received:
                image = recorded.decode_image(message)
                result = net.segment(image.pixels, image.order)
                expected.add(
                    str(stamp),
                    result.labels,
                    truth_hw=labels[stamp],
                    confidence_hw=result.confidence,
                )
    assert live['confusion'] == expected.matrix.tolist()
    assert live['calibration']['ece'] == pytest.approx(
        expected.calibration.expected_calibration_error(), abs=1e-9
    )
    assert (live['model'], live['backend']) == ('primary', 'onnxruntime')
    latency = live['latency_ms']
    assert 0 < latency['p50'] <= latency['p95'] <= latency['p99'] < 5000


class Camera:
    """Images, truth and the masks of a net that leaves some frames out."""

    def __init__(self, robot, namespace):
        node = robot.node
        latched = node.create_publisher(String, f'{namespace}/segmentation/class_names', LATCHED)
        latched.publish(to_class_names(PRIMARY_CLASSES))
        self.publishers = [
            node.create_publisher(Image, f'{namespace}/{topic}', 50)
            for topic in ('image', 'ground_truth/labels', 'segmentation/label_mask')
        ]
        for publisher in self.publishers:
            wait_for(publisher.get_subscription_count, what='the evaluation to subscribe')
        self._node = node

    def send(self, index, *, answered):
        image, truth = scene(index)
        stamp = self._node.get_clock().now().to_msg()
        header = Header(stamp=stamp, frame_id='camera')
        prediction = np.roll(truth, 1, axis=0)
        pictures = ((image, 'rgb8'), (truth, 'mono8'), (prediction, 'mono8'))
        for publisher, (pixels, encoding) in zip(self.publishers, pictures, strict=True):
            if answered or publisher is not self.publishers[2]:
                publisher.publish(to_image(pixels, encoding, header))
        return truth, prediction


def test_drops_are_counted_and_the_running_scores_published(tmp_path, robot):
    report = tmp_path / 'report.json'
    page = tmp_path / 'report.html'
    arguments = parameters('/drops', drop_after_s=1.0, min_miou=0.999, json=report, html=page)
    with process('evaluation_node', *arguments) as evaluation:
        camera = Camera(robot, '/drops')
        robot.listen('/drops/evaluation/report', DiagnosticArray)
        robot.listen('/drops/evaluation/report_json', String)
        wait_for(lambda: robot.received['/drops/evaluation/report_json'], what='a first report')
        expected = Scoring(PRIMARY_CLASSES)
        for index in range(12):
            truth, prediction = camera.send(index, answered=index % 4 != 1)
            if index % 4 != 1:
                expected.add(str(index), prediction, truth_hw=truth)
            time.sleep(0.05)

        def running():
            content = json.loads(robot.received['/drops/evaluation/report_json'][-1].data)
            return content if content['dropped'] == 3 else None

        content = wait_for(running, what='the drops to be counted')

        def as_diagnostics():  # another topic: it may come after the JSON of the same moment
            (status,) = robot.received['/drops/evaluation/report'][-1].status
            values = {entry.key: entry.value for entry in status.values}
            return values if values['dropped'] == '3' else None

        values = wait_for(as_diagnostics, what='the drops in the diagnostics')
        evaluation.send_signal(signal.SIGINT)
        assert evaluation.wait(timeout=15) == 1  # below min_miou
    scores = expected.scores
    assert content['frames'] == content['scored'] == 9
    assert content['confusion'] == expected.matrix.tolist()
    for entry, iou in zip(PRIMARY_CLASSES, scores.iou, strict=True):
        assert values[f'iou/{entry.name}'] == f'{iou:.4f}'
    final = json.loads(report.read_text())
    assert final['confusion'] == expected.matrix.tolist()
    assert final['timing']['latency_is'].startswith("From the header's stamp")
    assert 0 < final['latency_ms']['p50'] < 1000
    assert '3 dropped frames' in page.read_text()


def test_what_strangers_send_ends_no_evaluation(tmp_path, robot):
    """Eight bytes for a mask, classes that are void here, a model name from nowhere."""
    report = tmp_path / 'report.json'
    arguments = parameters('/odd', json=report, void_ids='[254,255]')
    with process('evaluation_node', *arguments) as evaluation:
        names = robot.node.create_publisher(String, '/odd/segmentation/class_names', LATCHED)
        wait_for(names.get_subscription_count, what='the evaluation to subscribe')
        names.publish(to_class_names([replace(PRIMARY_CLASSES[0], id=254)]))  # void there
        assert names.wait_for_all_acked(Duration(seconds=10))
        robot.node.destroy_publisher(names)
        robot.listen('/odd/evaluation/report_json', String)
        camera = Camera(robot, '/odd')
        odd = DiagnosticStatus(name='robot: x', values=[KeyValue(key='backend', value='x')])
        odd.values.append(KeyValue(key='model_name', value='~nobody/' + 'x' * 400))
        diagnostics = robot.node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        wait_for(diagnostics.get_subscription_count, what='the evaluation to listen')

        def are_scored():
            diagnostics.publish(DiagnosticArray(status=[odd]))
            for publisher in camera.publishers:
                publisher.publish(b'\0\1\0\0\0\0\0\0')
            camera.send(1, answered=True)
            received = robot.received['/odd/evaluation/report_json']
            return received and json.loads(received[-1].data)['frames'] > 1

        wait_for(are_scored, what='frames to be scored after all that')
        evaluation.send_signal(signal.SIGINT)
        _, log = evaluation.communicate(timeout=15)
        assert evaluation.returncode == 0
    assert 'a callback failed' not in log
    assert 'segmentation/class_names: void ids [254] are classes' in log
    reasons = json.loads(report.read_text())['skipped']['reasons']
    assert 'message without a readable header' in [entry['reason'] for entry in reasons]


@pytest.mark.parametrize(
    'text',
    [
        '7',
        '[7]',
        '[]',
        '[' * 9999,
        '[{"id": 1.5, "name": "a", "color": [0, 0, 0]}]',
        '[{"id": 1, "name": 7, "color": [0, 0, 0]}]',
        '[{"id": 1, "name": "a", "color": [0, 0]}]',
        '[{"id": 1, "name": "a", "color": [0, 0, 999]}]',
        '[{"id": 1, "name": "a", "color": [0, 0, 0]}, {"id": 1, "name": "b", "color": [0, 0, 0]}]',
    ],
)
def test_class_lists_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match=r'class|expected|id'):
        from_class_names(text)


@pytest.mark.parametrize(
    ('answered', 'expected', 'status', 'message'),
    [
        (4, 4, 0, '4 scored'),
        (2, 0, 1, '2 of 4 true labels were scored, a smaller share than min_scored 0.9'),
        (4, 40, 1, '4 of 40 true labels were scored, a smaller share than min_scored 0.9'),
        (0, 0, 2, 'no frame came back'),
    ],
)
def test_a_score_rests_on_what_was_asked_for(robot, answered, expected, status, message):
    arguments = parameters('/share', drop_after_s=1.0, quiet_after_s=1.0, expected_labels=expected)
    with process('evaluation_node', *arguments) as evaluation:
        camera = Camera(robot, '/share')
        robot.listen('/share/evaluation/report_json', String)
        wait_for(lambda: robot.received['/share/evaluation/report_json'], what='the classes')
        for index in range(4):
            camera.send(index, answered=index < answered)
            time.sleep(0.05)
        _, text = evaluation.communicate(timeout=30)
        assert evaluation.returncode == status, text
    assert message in text


def test_an_existing_report_is_refused_at_the_start_unless_it_may_be_replaced(tmp_path):
    report = tmp_path / 'report.json'
    report.write_text('of last week')
    with process('evaluation_node', *parameters('/x', json=report)) as evaluation:
        _, error = evaluation.communicate(timeout=20)
        assert evaluation.returncode == os.EX_CONFIG
    assert 'report.json exists; choose another name' in error
    assert report.read_text() == 'of last week'
    values = {'json': report, 'overwrite': 'true', 'start_within_s': 0.2}
    with process('evaluation_node', *parameters('/x', **values)) as evaluation:
        assert evaluation.wait(timeout=20) == 2  # nothing came


@pytest.mark.parametrize(
    ('values', 'status', 'message'),
    [
        ({'start_within_s': 0.5}, 2, 'nothing to score came within 0.5 s'),
        ({'min_mio': 0.5}, os.EX_CONFIG, "unknown parameter 'min_mio'; did you mean 'min_miou'"),
        ({'model': 'nowhere'}, os.EX_CONFIG, "no model 'nowhere'"),
        ({'min_miou': '{ball: 0.2}'}, os.EX_CONFIG, 'ROS has no mappings as parameters'),
    ],
)
def test_bad_input_ends_the_start_and_says_why(values, status, message):
    with process('evaluation_node', *parameters('/nothing', **values)) as evaluation:
        _, error = evaluation.communicate(timeout=20)
        assert evaluation.returncode == status
    assert message in error
