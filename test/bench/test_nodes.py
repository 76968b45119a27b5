"""The nodes that ours is compared with do what their user expects of them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
torch = pytest.importorskip('torch', reason='the naive node runs in PyTorch')

from sensor_msgs.msg import Image  # noqa: E402

from bench import naive_node, tutorial_node  # noqa: E402
from test.bench.float_graph import write_primary_graph  # noqa: E402
from test.conftest import stripes  # noqa: E402


def bgr_message(rgb):
    message = Image(height=rgb.shape[0], width=rgb.shape[1], encoding='bgr8')
    message.step = 3 * rgb.shape[1]
    message.header.stamp.sec = 42
    message.data = rgb[..., ::-1].tobytes()
    return message


def test_the_naive_node_reads_and_writes_images():
    rgb, labels = stripes()
    message = bgr_message(rgb)
    assert np.array_equal(naive_node.imgmsg_to_rgb(message), rgb)
    answer = naive_node.rgb_to_imgmsg(labels, 'mono8', message)
    assert answer.header == message.header
    assert answer.step == answer.width == labels.shape[1]
    assert np.array_equal(np.frombuffer(answer.data, np.uint8).reshape(labels.shape), labels)


@pytest.mark.parametrize('net', naive_node.NETS)
def test_the_naive_node_gives_logits_of_the_size_of_the_image(net):
    if net.startswith('smp_'):
        pytest.importorskip('segmentation_models_pytorch', reason='comes with the extra bench')
    predictor = naive_node.Predictor(net, 4, (64, 96))
    rgb, _ = stripes(80, 120)
    logits = predictor.predict(rgb)
    assert logits.shape == (1, 4, 80, 120)
    assert torch.isfinite(logits).all()
    assert logits.std() > 0


def test_the_naive_node_normalises_as_the_encoders_expect():
    predictor = naive_node.Predictor('mini_unet', 4, (64, 96))
    image = predictor.transform(np.full((64, 96, 3), (255, 0, 0), np.uint8))
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    assert image.mean((1, 2)).tolist() == pytest.approx(expected, abs=1e-4)


def test_the_tutorial_node_labels_an_image(tmp_path):
    predictor = tutorial_node.Predictor(write_primary_graph(tmp_path / 'net.onnx'))
    rgb, expected = stripes(96, 128)
    labels = predictor.predict(np.ascontiguousarray(rgb[..., ::-1]))
    assert labels.shape == expected.shape
    assert (labels == expected).mean() > 0.97  # edges are resized
