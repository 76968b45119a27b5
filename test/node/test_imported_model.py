"""A net of another project answers in the node."""

import numpy as np
import pytest

pytest.importorskip('onnx')

from sensor_msgs.msg import Image

from seg_ros.model_card import ClassInfo
from test.conftest import stripes
from test.node.conftest import image_message, labels_of, node_process
from test.test_graph_import import ARGMAX, INT64_IDS, foreign, imported

pytestmark = pytest.mark.ros

CLASSES = (
    ClassInfo(3, 'red', (255, 0, 0)),
    ClassInfo(1, 'green', (0, 255, 0)),
    ClassInfo(9, 'blue', (0, 0, 255)),
)


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_a_graph_that_ended_in_argmax_publishes_ids_masks_and_confidence(robot, tmp_path, backend):
    pytest.importorskip(backend)
    path = foreign(tmp_path / 'net.onnx', [ARGMAX], out=INT64_IDS)
    imported(path, tmp_path, CLASSES)
    namespace = f'/imported_{backend}'
    node = f'{namespace}/segmentation'
    with node_process(namespace, model=tmp_path / 'model', backend=backend):
        for topic in ('label_mask', 'mask/blue', 'confidence'):
            robot.listen(f'{node}/{topic}', Image)
        camera = robot.camera(f'{namespace}/image')
        image, labels = stripes()
        message = image_message(image, robot.header())
        found = labels_of(robot.ask(camera, message, f'{node}/label_mask'))
        np.testing.assert_array_equal(found, np.array([3, 1, 9])[labels])
        mask = labels_of(robot.message_with(f'{node}/mask/blue', message.header))
        np.testing.assert_array_equal(mask > 0, labels == 2)
        confidence = labels_of(robot.message_with(f'{node}/confidence', message.header))
        assert confidence.min() > 250  # logits of 9 beside two of 0
