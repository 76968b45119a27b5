"""The live evaluation in a process of its own, over real DDS."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from seg_ros import segmenter
from seg_ros.bags import Bag, header_stamp_ns
from seg_ros.evaluation.scoring import Scoring
from test.conftest import PRIMARY_CLASSES
from test.evaluation.conftest import IMAGE_TOPIC, LABEL_TOPIC, build_bag, scene
from test.node.conftest import node_process, wait_for

rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed')

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Header, String  # noqa: E402

from seg_ros.node.messages import to_class_names, to_image  # noqa: E402
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
        self._publishers = [
            node.create_publisher(Image, f'{namespace}/{topic}', 50)
            for topic in ('image', 'ground_truth/labels', 'segmentation/label_mask')
        ]
        for publisher in self._publishers:
            wait_for(publisher.get_subscription_count, what='the evaluation to subscribe')
        self._node = node

    def send(self, index, *, answered):
        image, truth = scene(index)
        stamp = self._node.get_clock().now().to_msg()
        header = Header(stamp=stamp, frame_id='camera')
        prediction = np.roll(truth, 1, axis=0)
        pictures = ((image, 'rgb8'), (truth, 'mono8'), (prediction, 'mono8'))
        for publisher, (pixels, encoding) in zip(self._publishers, pictures, strict=True):
            if answered or publisher is not self._publishers[2]:
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


@pytest.mark.parametrize(
    ('values', 'status', 'message'),
    [
        ({'start_within_s': 0.5}, 2, 'nothing to score came within 0.5 s'),
        ({'min_mio': 0.5}, os.EX_CONFIG, "unknown parameter 'min_mio'; did you mean 'min_miou'"),
        ({'model': 'nowhere'}, os.EX_CONFIG, "no model 'nowhere'"),
    ],
)
def test_bad_input_ends_the_start_and_says_why(values, status, message):
    with process('evaluation_node', *parameters('/nothing', **values)) as evaluation:
        _, error = evaluation.communicate(timeout=20)
        assert evaluation.returncode == status
    assert message in error
