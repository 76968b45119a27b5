"""The classes as vision_msgs/LabelInfo; other topics are tested with the node."""

from __future__ import annotations

import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time

from test.node.conftest import node_process, wait_for

vision_msgs = pytest.importorskip(
    'vision_msgs.msg', reason='vision_msgs is missing: make vision-msgs'
)

pytestmark = pytest.mark.ros

TOPIC = '/segmentation/label_info'  # of the node that the tests of this module share
OWN_TOPIC = '/own/segmentation/label_info'  # of a node that a test starts for itself


def listen(robot, topic):
    """Subscribe after the node has latched; the list that the messages gather in."""
    wait_for(lambda: robot.state(topic.removesuffix('/label_info')) == 'active')
    robot.listen(topic, vision_msgs.LabelInfo, latched=True)
    return robot.received[topic]


def test_label_info_is_offered_latched_and_reliable(robot, segmentation):
    (endpoint,) = wait_for(
        lambda: robot.node.get_publishers_info_by_topic(TOPIC), what=f'a publisher of {TOPIC}'
    )
    assert endpoint.topic_type == 'vision_msgs/msg/LabelInfo'
    assert endpoint.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert endpoint.qos_profile.reliability == ReliabilityPolicy.RELIABLE


def test_label_info_lists_the_classes_without_void(robot, segmentation):
    received = listen(robot, TOPIC)
    message = wait_for(lambda: received, what='label info')[0]
    class_map = [(entry.class_id, entry.class_name) for entry in message.class_map]
    assert class_map == [(0, 'red'), (1, 'green'), (2, 'blue')]
    assert message.threshold == 0.0


def test_label_info_is_stamped_with_the_time_of_its_publication(robot, primary_model):
    earliest = robot.node.get_clock().now()
    with node_process('/own', model=primary_model, backend='onnxruntime'):
        received = listen(robot, OWN_TOPIC)
        message = wait_for(lambda: received, what='label info')[0]
    stamp = Time.from_msg(message.header.stamp, clock_type=earliest.clock_type)
    assert earliest < stamp < robot.node.get_clock().now()


def test_threshold_follows_min_confidence(robot, primary_model):
    parameters = {'model': primary_model, 'backend': 'onnxruntime', 'min_confidence': 0.25}
    with node_process('/own', **parameters):
        received = listen(robot, OWN_TOPIC)
        assert wait_for(lambda: received, what='label info')[0].threshold == 0.25

        for value in (0.5, 0.75):
            accepted = robot.set_parameter('/own/segmentation', 'min_confidence', value)
            assert accepted == (True, '')
        wait_for(lambda: received[-1].threshold == 0.75, 5.0, 'label info with the new threshold')
        assert [len(message.class_map) for message in received] == [3] * len(received)

        # keep last 1: who comes now gets the newest alone, though it asks for the last ten
        late = []
        qos = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        robot.node.create_subscription(vision_msgs.LabelInfo, OWN_TOPIC, late.append, qos)
        wait_for(lambda: late, what='label info for a late subscriber')
        robot.diagnostics('/own/segmentation')  # a second in which older ones would have come
        assert [message.threshold for message in late] == [0.75]
