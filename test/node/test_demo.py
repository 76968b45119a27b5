from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from seg_ros.bag_writer import BagWriter
from seg_ros.bags import Bag, BagMessage
from seg_ros.model_card import load_model_card
from seg_ros.overlay import palette
from test.conftest import stripes, write_primary_model
from test.test_bags import COMPRESSED, IMAGE, raw_image, serialized

pytestmark = pytest.mark.ros

FRAMES = 12


@pytest.fixture(params=['raw', 'compressed'])
def bag_path(request, tmp_path):
    """A second and a bit of frames at 10 Hz with their truth; every fourth is half wrong."""
    image, labels = stripes(96, 128)
    wrong = labels.copy()
    wrong[48:] = (labels[48:] + 1) % 3
    with BagWriter(tmp_path / 'bag') as writer:
        for index in range(FRAMES):
            stamp = (100 + index) * 100_000_000
            if request.param == 'raw':
                data, kind = raw_image(stamp, image, 'rgb8'), IMAGE
            else:
                png = cv2.imencode('.png', image[..., ::-1])[1].ravel()
                data, kind = serialized(COMPRESSED, stamp, format='png', data=png), COMPRESSED
            writer.write(BagMessage('/cam/image', kind, stamp, data))
            truth = raw_image(stamp, wrong if index % 4 == 0 else labels, 'mono8')
            writer.write(BagMessage('/ground_truth/labels', IMAGE, stamp, truth))
    return tmp_path / 'bag'


def run_demo(*arguments):
    command = [sys.executable, '-m', 'seg_ros', 'demo', *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


def test_demo_plays_records_scores_and_pictures(bag_path, tmp_path):
    model = write_primary_model(tmp_path / 'model', height=96, width=128)
    out = tmp_path / 'out'
    # Slowly: on a busy machine a node that keeps up on average may still miss a frame.
    done = run_demo('--bag', bag_path, '--model', model, '--out', out, '--rate', 0.3)
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / 'summary.json').read_text(encoding='utf-8'))
    assert summary['frames'] == {'in': FRAMES, 'out': FRAMES, 'dropped': 0}
    # 9 frames are right; in 3 the lower half is another class each: 1/8 of all pixels is wrong
    assert summary['pixel_accuracy'] == pytest.approx(7 / 8, abs=1e-4)
    assert summary['miou'] == pytest.approx(np.mean(list(summary['iou'].values())), abs=1e-4)
    assert 0 < summary['latency_ms']['p50'] <= summary['latency_ms']['p99']
    assert f'frames: {FRAMES} in, {FRAMES} out, 0 dropped' in done.stdout
    assert cv2.imread(str(out / 'contact_sheet.png')).shape[1] == 4 * 320

    with Bag(out / 'recording') as bag:
        counts = {topic.name: topic.count for topic in bag.topics.values()}
        assert counts == dict.fromkeys(
            [
                '/cam/image',
                '/ground_truth/labels',
                '/segmentation/label_mask',
                '/segmentation/confidence',
                '/segmentation/color_mask',
                '/segmentation/overlay',
            ],
            FRAMES,
        )
        labels = stripes(96, 128)[1]
        for message in bag.read_messages(['/segmentation/label_mask']):
            np.testing.assert_array_equal(bag.decode_labels(message), labels)
        colors = palette(load_model_card(model).classes)[labels]
        for message in bag.read_messages(['/segmentation/color_mask']):
            np.testing.assert_array_equal(bag.decode_image(message).pixels, colors)


def test_demo_without_a_model_or_topic_says_what_there_is(bag_path, tmp_path):
    out = ('--out', tmp_path / 'out')
    done = run_demo('--bag', bag_path, '--model', tmp_path / 'none', *out)
    assert done.returncode == 2
    assert 'no model' in done.stderr
    model = write_primary_model(tmp_path / 'model')
    done = run_demo('--bag', bag_path, '--model', model, '--topic', '/nothing', *out)
    assert done.returncode == 2
    assert "topic '/nothing' is not in it; expected sensor_msgs/msg/Image or" in done.stderr
