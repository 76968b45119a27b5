"""The node as its consumers see it: Nav2's semantic layer, and behaviours that ask for shapes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import PolygonStamped
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import Image, PointCloud2

from seg_ros.model_card import ClassInfo
from test.conftest import stripes, write_primary_model
from test.node.conftest import image_message, node_process, wait_for

vision_msgs = pytest.importorskip(
    'vision_msgs.msg', reason='vision_msgs is missing: make vision-msgs'
)

pytestmark = pytest.mark.ros

NODE = '/pitch/segmentation'
CLASSES = (
    ClassInfo(0, 'background', (255, 0, 0)),
    ClassInfo(3, 'field', (0, 255, 0)),
    ClassInfo(1, 'ball', (0, 0, 255)),
)
HEIGHT, WIDTH = 96, 128


@pytest.fixture(scope='module')
def pitch(tmp_path_factory):
    """A node whose model takes green for the field and blue for the ball."""
    folder = tmp_path_factory.mktemp('pitch') / 'pitch'
    model = write_primary_model(folder, height=HEIGHT, width=WIDTH, stride=1, classes=CLASSES)
    parameters = {
        'backend': 'onnxruntime',
        'geometry': '[ball, field_boundary]',
        'image_topics': '[/pitch/camera/image]',
    }
    with node_process('/pitch', model=model, **parameters) as process:
        yield process


class SemanticLayer:
    """What nav2_costmap_2d's semantic segmentation layer does with its topics.

    It synchronises segmentation, confidence and point cloud by ExactTime on best-effort
    subscriptions, ignores all of it until the latched class information came, and indexes the
    mask by the cloud's pixels without a look at its step.
    """

    def __init__(self, robot, node, cloud_topic):
        self.class_names = {}
        self.costs = []
        self._waiting = {}
        latched = QoSProfile(
            depth=1,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
        )
        robot.node.create_subscription(
            vision_msgs.LabelInfo, f'{node}/label_info', self._on_info, latched
        )
        for name, kind, topic in (
            ('mask', Image, f'{node}/label_mask'),
            ('confidence', Image, f'{node}/confidence'),
            ('cloud', PointCloud2, cloud_topic),
        ):
            robot.node.create_subscription(
                kind, topic, lambda m, name=name: self._on(name, m), qos_profile_sensor_data
            )

    def _on_info(self, message):
        self.class_names = {entry.class_id: entry.class_name for entry in message.class_map}

    def _on(self, name, message):
        if not self.class_names:
            return
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        together = self._waiting.setdefault(stamp, {})
        together[name] = message
        if len(together) == 3:
            self._sort_into_costs(**self._waiting.pop(stamp))

    def _sort_into_costs(self, mask, confidence, cloud):
        assert (mask.height, mask.width) == (cloud.height, cloud.width)
        assert (confidence.height, confidence.width) == (cloud.height, cloud.width)
        points = np.frombuffer(cloud.data, np.float32).reshape(cloud.height * cloud.width, 3)
        cost = {'field': 0, 'ball': 254}
        found = {}
        for v in range(cloud.height):
            for u in range(cloud.width):
                pixel = v * cloud.width + u
                name = self.class_names.get(mask.data[pixel])
                if name in cost and confidence.data[pixel] > 128:
                    found[tuple(points[pixel])] = cost[name]
        self.costs.append(found)


def pitch_image():
    """Red above row 30, green below, a blue ball: RGB and the ids that it shows."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[30:] = 3
    cv2.circle(labels, (40, 60), 8, 1, -1)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for channel, label in enumerate((0, 3, 1)):
        image[..., channel][labels == label] = 230
    return image, labels


def cloud_message(header):
    """An organised cloud as big as the image, each point at its own (u, v, 1)."""
    v, u = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    message = PointCloud2(header=header, height=HEIGHT, width=WIDTH, point_step=12)
    message.data.frombytes(np.stack([u, v, np.ones_like(u)], axis=2).tobytes())
    return message


def test_nav2s_semantic_layer_is_served(robot, pitch):
    wait_for(lambda: robot.state(NODE) == 'active', what='the active node')
    layer = SemanticLayer(robot, NODE, '/pitch/points')
    clouds = robot.node.create_publisher(PointCloud2, '/pitch/points', 1)
    camera = robot.camera('/pitch/camera/image')
    image, labels = pitch_image()
    wait_for(lambda: layer.class_names, what='label info')

    def served():
        header = robot.header()
        clouds.publish(cloud_message(header))
        camera.publish(image_message(image, header))
        return layer.costs

    costs = wait_for(served, what='synchronised messages')[0]
    rows, columns = np.nonzero(labels)
    assert costs.keys() == {(u, v, 1.0) for u, v in zip(columns, rows, strict=True)}
    assert costs[40, 60, 1.0] == 254
    assert costs[100, 80, 1.0] == 0


def test_balls_and_field_come_as_standard_messages_in_pixels(robot, pitch):
    balls, field = f'{NODE}/ball_candidates', f'{NODE}/field_boundary'
    robot.listen(balls, vision_msgs.Detection2DArray)
    robot.listen(field, PolygonStamped)
    camera, header = robot.camera('/pitch/camera/image'), robot.header()
    message = image_message(pitch_image()[0], header)
    (detection,) = robot.ask(camera, message, balls).detections
    assert detection.header == header
    assert detection.bbox.center.position.x == pytest.approx(40, abs=1)
    assert detection.bbox.center.position.y == pytest.approx(60, abs=1)
    assert detection.bbox.size_x == pytest.approx(17, abs=2)
    assert detection.results[0].hypothesis.class_id == 'ball'
    assert 0.8 < detection.results[0].hypothesis.score <= 1.0
    corners = [(point.x, point.y) for point in robot.ask(camera, message, field).polygon.points]
    assert corners[0] == pytest.approx((2, 30), abs=2)
    assert max(y for _, y in corners) == HEIGHT - 1
    assert min(y for _, y in corners) == pytest.approx(30, abs=1)


def test_shapes_are_chosen_live_and_refused_where_the_class_is_missing(robot, pitch):
    field = f'{NODE}/field_boundary'
    accepted, reason = robot.set_parameter(NODE, 'geometry', ['drivable_edge'])
    assert not accepted
    assert "taken from a class 'road'; there are background, field, ball" in reason
    assert robot.set_parameter(NODE, 'geometry', []) == (True, '')
    wait_for(lambda: not robot.node.count_publishers(field), what='no field boundary')
    assert robot.set_parameters(NODE, geometry=['drivable_edge'], class_remap=['field: road'])[0]
    robot.listen(f'{NODE}/drivable_edge', PolygonStamped)
    camera, header = robot.camera('/pitch/camera/image'), robot.header()
    frame = image_message(pitch_image()[0], header)
    message = robot.ask(camera, frame, f'{NODE}/drivable_edge')
    assert min(point.y for point in message.polygon.points) == pytest.approx(30, abs=1)
    defaults = {'geometry': ['ball', 'field_boundary'], 'class_remap': []}
    assert robot.set_parameters(NODE, **defaults) == (True, '')


def test_a_frame_without_field_gives_empty_shapes(robot, pitch):
    robot.listen(f'{NODE}/ball_candidates', vision_msgs.Detection2DArray)
    robot.listen(f'{NODE}/field_boundary', PolygonStamped)
    camera, header = robot.camera('/pitch/camera/image'), robot.header()
    red = stripes(HEIGHT, WIDTH)[0]
    red[:] = (230, 0, 0)
    frame = image_message(red, header)
    assert robot.ask(camera, frame, f'{NODE}/ball_candidates').detections == []
    assert list(robot.ask(camera, frame, f'{NODE}/field_boundary').polygon.points) == []
