"""The node on a distribution that lacks what its rclpy has here."""

from __future__ import annotations

import importlib
import os
import sys
import types

import pytest
import rclpy
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from seg_ros.node import compat
from seg_ros.node.camera_input import CameraInput
from seg_ros.node.config import NodeConfig
from seg_ros.node.runtime import create_steady_timer, large_image_environment
from seg_ros.node.segmentation_node import SegmentationNode
from test.node.conftest import wait_for

pytestmark = pytest.mark.ros


class HumbleEventCallbacks(SubscriptionEventCallbacks):
    def __init__(self, *, incompatible_qos=None, message_lost=None, use_default_callbacks=True):
        super().__init__(
            incompatible_qos=incompatible_qos,
            message_lost=message_lost,
            use_default_callbacks=use_default_callbacks,
        )


@pytest.fixture
def humble(monkeypatch):
    """An rclpy without what came after Humble."""
    monkeypatch.delattr(Node, 'add_post_set_parameters_callback')
    monkeypatch.setattr(compat, 'SubscriptionEventCallbacks', HumbleEventCallbacks)


@pytest.fixture
def build_node(primary_model):
    """Makes the node in this process."""
    nodes = []

    def build():
        config = NodeConfig(model=str(primary_model), backend='onnxruntime', autostart=False)
        nodes.append(SegmentationNode(config))
        return nodes[-1]

    yield build
    for node in nodes:
        node.trigger_shutdown()
        node.destroy_node()


def test_event_callbacks_come_from_the_module_that_humble_has(monkeypatch):
    events = importlib.import_module('rclpy.event_handler')
    monkeypatch.setitem(sys.modules, 'rclpy.event_handler', None)
    monkeypatch.setitem(
        sys.modules,
        'rclpy.qos_event',
        types.SimpleNamespace(
            PublisherEventCallbacks=events.PublisherEventCallbacks,
            SubscriptionEventCallbacks=HumbleEventCallbacks,
        ),
    )
    source = importlib.util.find_spec('seg_ros.node.compat')
    reloaded = importlib.util.module_from_spec(source)
    source.loader.exec_module(reloaded)
    assert reloaded.SubscriptionEventCallbacks is HumbleEventCallbacks


@pytest.mark.parametrize('distribution', ['this one', 'humble'])
def test_parameters_are_taken_once_they_passed_every_check(request, build_node, distribution):
    if distribution == 'humble':
        request.getfixturevalue('humble')
    node = build_node()
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    (result,) = node.set_parameters([Parameter('max_rate', value=5.0)])
    assert result.successful
    assert node.config.max_rate == 5.0
    faster, wrong = Parameter('max_rate', value=9.0), Parameter('masks', value=['no such class'])
    result = node.set_parameters_atomically([faster, wrong])
    assert 'no such class' in result.reason
    assert node.config.max_rate == 5.0


def test_without_an_event_the_timer_finds_a_best_effort_publisher(humble, robot):
    config = NodeConfig(image_topics=('/compat/image',))
    callbacks = [lambda _: None] * 3
    camera = CameraInput(robot.node, '/compat/image', config, *callbacks)
    timer = create_steady_timer(robot.node, 0.05, camera.reconsider)  # as the node's
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    robot.node.create_publisher(Image, '/compat/image', qos)

    def is_best_effort():
        found = robot.node.get_subscriptions_info_by_topic('/compat/image')
        return [each.qos_profile.reliability for each in found] == [ReliabilityPolicy.BEST_EFFORT]

    wait_for(is_best_effort, what='a best-effort subscription')
    robot.node.destroy_timer(timer)
    camera.destroy()


@pytest.mark.parametrize(
    ('has_init_context', 'variable'),
    [(False, 'FASTRTPS_DEFAULT_PROFILES_FILE'), (True, 'FASTDDS_DEFAULT_PROFILES_FILE')],
)
def test_the_profile_is_given_under_the_name_that_fast_dds_reads(
    monkeypatch, has_init_context, variable
):
    for name in compat.PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    if has_init_context:
        monkeypatch.setattr(rclpy, 'InitContextManager', object, raising=False)
    else:
        monkeypatch.delattr(rclpy, 'InitContextManager', raising=False)
    assert list(large_image_environment()) == [variable]
    monkeypatch.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', 'own.xml')
    assert large_image_environment() == {}


def test_on_humble_another_variable_keeps_dds_on_this_machine(monkeypatch, request):
    names = ('ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_LOCALHOST_ONLY')
    for name in names:
        monkeypatch.setenv(name, 'x')  # put back afterwards
        monkeypatch.delenv(name)
    compat.stay_on_this_machine()
    assert [os.environ.pop(name, None) for name in names] == ['LOCALHOST', None]
    request.getfixturevalue('humble')
    compat.stay_on_this_machine()
    assert [os.environ.pop(name, None) for name in names] == [None, '1']
