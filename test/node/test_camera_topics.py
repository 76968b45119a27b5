"""Names of topics: what remappings make of them, and which cannot be."""

from __future__ import annotations

import contextlib
import re

import pytest
import rclpy

from seg_ros.node.camera_topics import camera_topics, check_topics
from seg_ros.node.config import NodeConfig
from seg_ros.node.segmentation_node import SegmentationNode
from test.node.conftest import node_process, wait_for

pytestmark = pytest.mark.ros


@contextlib.contextmanager
def node_with(*remappings, namespace=''):
    """A node in this process, under remappings such as ``image:=/front/image_raw``."""
    arguments = [text for rule in remappings for text in ('-r', rule)]
    node = rclpy.create_node(
        'names', namespace=namespace, cli_args=['--ros-args', *arguments] if arguments else None
    )
    try:
        yield node
    finally:
        node.destroy_node()


def subscribed(node, topic, transport):
    names = camera_topics(
        node, topic, NodeConfig(image_topics=(topic,), image_transport=transport)
    )
    return node.resolve_topic_name(names.image), node.resolve_topic_name(names.camera_info)


@pytest.mark.parametrize(
    ('remappings', 'topic', 'transport', 'image', 'camera_info'),
    [
        ([], 'image', 'raw', '/image', '/camera_info'),
        ([], 'image', 'compressed', '/image/compressed', '/camera_info'),
        ([], '/cam/image', 'compressed', '/cam/image/compressed', '/cam/camera_info'),
        ([], '/cam/image/compressed', 'compressed', '/cam/image/compressed', '/cam/camera_info'),
        (['image:=/front/image_raw'], 'image', 'raw', '/front/image_raw', '/front/camera_info'),
        (['image:=/front/image_raw'], 'image', 'compressed',
         '/front/image_raw/compressed', '/front/camera_info'),
        (['image:=/front/image_raw'], 'image/compressed', 'compressed',
         '/front/image_raw/compressed', '/front/camera_info'),
        (['image:=/front/image_raw/compressed'], 'image', 'compressed',
         '/front/image_raw/compressed', '/front/camera_info'),
        (['image/compressed:=/front/jpeg/compressed'], 'image', 'compressed',
         '/front/jpeg/compressed', '/front/camera_info'),
        (['image:=/front/image_raw', 'camera_info:=/calibration'], 'image', 'raw',
         '/front/image_raw', '/calibration'),
        (['camera_info:=/calibration'], 'image', 'compressed',
         '/image/compressed', '/calibration'),
        # swapped: a name is remapped once, not twice
        (['/a/image:=/b/image', '/b/image:=/a/image'], '/a/image', 'raw',
         '/b/image', '/b/camera_info'),
    ],
)  # fmt: skip
def test_what_belongs_to_a_camera_follows_its_image(
    remappings, topic, transport, image, camera_info
):
    with node_with(*remappings) as node:
        assert subscribed(node, topic, transport) == (image, camera_info)


def test_names_stay_in_the_namespace_of_the_node():
    with node_with(namespace='/robot') as node:
        assert subscribed(node, 'image', 'compressed') == (
            '/robot/image/compressed',
            '/robot/camera_info',
        )


@pytest.mark.parametrize(
    ('topics', 'reason'),
    [
        (['/camera-1/image_raw'], "'/camera-1/image_raw' is no topic name"),
        (['/my camera/image'], 'is no topic name'),
        (['/camera//image'], 'is no topic name'),
        (['/camera/image/'], 'is no topic name'),
        (['~image'], 'is no topic name'),
        (['/1st/image'], 'is no topic name'),
        (['/image.raw'], 'is no topic name'),
        (['{nothing}/image'], 'is no topic name'),
        (['{node/image'], 'is no topic name'),
        (['/' + 'x' * 240 + '/image'], 'is no topic name'),
        (['image\x00'], 'is no topic name'),
        (['imäge'], 'is no topic name'),
        (['/front/image_raw', '/rear/image raw'], "'/rear/image raw' is no topic name"),
        (['left/image', 'front/image'], "'left/image' and 'front/image' are both /front/image"),
    ],
)
def test_names_that_cannot_be_are_refused_with_the_reason(topics, reason):
    with (
        node_with('left/image:=/front/image', 'front/image:=/front/image') as node,
        pytest.raises(ValueError, match=re.escape(reason)) as caught,
    ):
        check_topics(node, NodeConfig(image_topics=tuple(topics)))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'topic', ['image', '/image', '~/image', '/a/b_2/image_raw', '{node}/image']
)
def test_names_that_can_be_are_taken(topic):
    with node_with(namespace='/robot') as node:
        check_topics(node, NodeConfig(image_topics=(topic, '/other/image')))


def test_a_running_node_listens_beside_the_remapped_image(robot, primary_model):
    with node_process(
        '/own',
        *('-r', 'image:=/front/image_raw'),
        model=primary_model,
        backend='onnxruntime',
        image_transport='compressed',
    ):
        for topic in ('/front/image_raw/compressed', '/front/camera_info'):
            wait_for(lambda topic=topic: robot.node.count_subscribers(topic), what=topic)
        assert not robot.node.count_subscribers('/own/image/compressed')
        assert not robot.node.count_subscribers('/own/camera_info')


def test_a_node_that_somebody_else_spins_starts_itself(primary_model):
    node = SegmentationNode(NodeConfig(model=str(primary_model), backend='onnxruntime'))
    try:
        subscribed_to = {each.topic_name for each in node.subscriptions}
    finally:
        node.trigger_shutdown()
        node.destroy_node()
    assert {'/image', '/camera_info'} <= subscribed_to
