"""The QoS that endpoints really have, and what becomes of those that do not fit."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import yaml
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import Log
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from test.conftest import stripes
from test.node.conftest import image_message, node_process, wait_for
from test.node.ros_tool import dump

pytestmark = pytest.mark.ros

EXAMPLE = Path(__file__).parents[2] / 'config' / 'qos_overrides.yaml'
NODE = '/own/segmentation'
MASK = f'{NODE}/label_mask'
INPUT = 'qos_overrides./own/image.subscription'


def endpoint_qos(robot, topic, kind):
    """QoS of the only endpoint on a topic; kind: publisher or subscription."""
    ask = {
        'publisher': robot.node.get_publishers_info_by_topic,
        'subscription': robot.node.get_subscriptions_info_by_topic,
    }[kind]
    (found,) = wait_for(lambda: ask(topic), what=f'a {kind} of {topic}')
    return found.qos_profile


def reconfigure(robot):
    for name in ('DEACTIVATE', 'CLEANUP', 'CONFIGURE', 'ACTIVATE'):
        assert robot.change_state(NODE, getattr(Transition, f'TRANSITION_{name}'))


def overrides_of_example():
    """(topic, endpoint, policy, value) of each override in the file."""
    topics = yaml.safe_load(EXAMPLE.read_text(encoding='utf-8'))['/**']['ros__parameters']
    return [
        (topic, endpoint, policy, value)
        for topic, endpoints in topics['qos_overrides'].items()
        for endpoint, policies in endpoints.items()
        for policy, value in policies.items()
    ]


def test_every_override_of_the_example_acts_on_its_endpoint(robot, primary_model):
    with node_process(
        '/', '--params-file', str(EXAMPLE), model=primary_model, backend='onnxruntime'
    ):
        for topic, endpoint, policy, value in overrides_of_example():
            if policy in ('reliability', 'durability'):  # others are not told to the graph
                qos = endpoint_qos(robot, topic, endpoint)
                assert getattr(qos, policy).name.lower() == value
            name = f'qos_overrides.{topic}.{endpoint}.{policy}'
            assert dump(robot, '/segmentation')[name] == value


def test_an_override_reaches_every_endpoint(robot, primary_model):
    wanted = {
        ('/own/image', 'subscription', 'durability'): 'transient_local',
        ('/own/camera_info', 'subscription', 'reliability'): 'reliable',
        (MASK, 'publisher', 'reliability'): 'best_effort',
        (f'{NODE}/mask/red', 'publisher', 'durability'): 'transient_local',
        (f'{NODE}/camera_info', 'publisher', 'reliability'): 'best_effort',
        (f'{NODE}/class_names', 'publisher', 'durability'): 'volatile',
        ('/diagnostics', 'publisher', 'reliability'): 'best_effort',
    }
    options = {f'qos_overrides.{".".join(name)}': value for name, value in wanted.items()}
    with node_process('/own', model=primary_model, backend='onnxruntime', **options):
        for (topic, endpoint, policy), value in wanted.items():
            qos = endpoint_qos(robot, topic, endpoint)
            assert getattr(qos, policy).name.lower() == value, topic


@pytest.mark.parametrize('other', ['auto', 'reliable', 'best_effort'])
@pytest.mark.parametrize('override', ['reliable', 'best_effort'])
def test_an_override_of_the_input_goes_before_every_choice(robot, primary_model, other, override):
    camera_is_reliable = override != 'reliable'  # what auto would not choose
    robot.camera('/own/image', reliable=camera_is_reliable, wait=False)
    options = {'model': primary_model, 'backend': 'onnxruntime', 'input_reliability': other}
    with node_process('/own', **options, **{f'{INPUT}.reliability': override}):
        for _ in range(2):
            qos = endpoint_qos(robot, '/own/image', 'subscription')
            assert qos.reliability.name.lower() == override
            reconfigure(robot)


def test_what_was_chosen_once_does_not_stay(robot, primary_model):
    with node_process(
        '/own', model=primary_model, backend='onnxruntime', input_reliability='best_effort'
    ):
        qos = endpoint_qos(robot, '/own/image', 'subscription')
        assert qos.reliability == ReliabilityPolicy.BEST_EFFORT
        assert not any(name.startswith('qos_overrides') for name in dump(robot, NODE))
        for name in ('DEACTIVATE', 'CLEANUP'):
            assert robot.change_state(NODE, getattr(Transition, f'TRANSITION_{name}'))
        assert robot.set_parameter(NODE, 'input_reliability', 'auto') == (True, '')
        for name in ('CONFIGURE', 'ACTIVATE'):
            assert robot.change_state(NODE, getattr(Transition, f'TRANSITION_{name}'))
        robot.camera('/own/image', reliable=True)
        qos = endpoint_qos(robot, '/own/image', 'subscription')
        assert qos.reliability == ReliabilityPolicy.RELIABLE


def test_the_hint_of_the_log_is_a_cure(robot, primary_model):
    """A subscriber that nothing can be sent to, and the override that the node then names."""
    latched = QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )
    robot.node.create_subscription(Log, '/rosout', robot.received['/rosout'].append, 100)

    def hints():
        return [m.msg for m in list(robot.received['/rosout']) if f'{MASK}: durability' in m.msg]

    with node_process('/own', model=primary_model, backend='onnxruntime'):
        wait_for(lambda: robot.node.count_publishers(MASK))
        wait_for(lambda: robot.node.count_publishers('/rosout') > 1)
        for _ in range(8):  # whoever asks again and again does not flood the log
            late = robot.node.create_subscription(Image, MASK, lambda _: None, latched)
            wait_for(hints, what='the hint')
            robot.node.destroy_subscription(late)
        assert len(hints()) == 1
        hint = hints()[0].partition('set the parameter ')[2]
        name, _, value = hint.rstrip('.').partition(' to ')
    assert name == f'qos_overrides.{MASK}.publisher.durability'
    with node_process('/own', model=primary_model, backend='onnxruntime', **{name: value}):
        qos = endpoint_qos(robot, MASK, 'publisher')
        assert qos.durability == DurabilityPolicy.TRANSIENT_LOCAL


def test_a_publisher_that_comes_and_goes_costs_a_good_camera_nothing(robot, primary_model):
    """Best-effort publishers appear and vanish on the topic of a reliable camera."""
    image, _ = stripes()
    flaps, enough = [], threading.Event()

    def flap():
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        while not enough.is_set():
            publisher = robot.node.create_publisher(Image, '/own/image', qos)
            enough.wait(0.2)
            robot.node.destroy_publisher(publisher)
            enough.wait(0.2)
            flaps.append(publisher)

    with node_process('/own', model=primary_model, backend='onnxruntime'):
        robot.listen(MASK)
        camera = robot.camera('/own/image')
        robot.ask(camera, image_message(image, robot.header()), MASK)
        thread = threading.Thread(target=flap)
        thread.start()
        try:
            while len(flaps) < 10:
                header = robot.header()
                camera.publish(image_message(image, header))
                robot.message_with(MASK, header)
        finally:
            enough.set()
            thread.join()
        answered = [message.header.stamp.sec for message in robot.received[MASK]]
    assert len(set(answered)) == len(answered), 'a frame was served twice'


def test_publishers_of_both_kinds_are_heard(robot, primary_model):
    image, _ = stripes()
    with node_process('/own', model=primary_model, backend='onnxruntime'):
        robot.listen(MASK)
        cameras = [robot.camera('/own/image', reliable=kind) for kind in (True, False)]
        for camera in cameras * 3:
            robot.ask(camera, image_message(image, robot.header()), MASK)
        robot.node.destroy_publisher(cameras[1])
        wait_for(
            lambda: len(robot.node.get_subscriptions_info_by_topic('/own/image')) == 1,
            what='one reader',
        )
        robot.ask(cameras[0], image_message(image, robot.header()), MASK)
