"""The launch file of the node with the real node, player and DDS."""

from __future__ import annotations

import os
import re
import time

import pytest

from test.conftest import stripes
from test.evaluation.conftest import IMAGE_TOPIC, build_bag
from test.node.conftest import (
    _ros_context,  # noqa: F401 - a fixture
    image_message,
    robot,  # noqa: F401 - a fixture
    wait_for,
)

pytestmark = pytest.mark.ros


def test_a_bag_is_played_into_the_node_and_one_interrupt_ends_both(
    ros2_launch, tmp_path, params_file
):
    bag = build_bag(4).save(tmp_path / 'drive')
    # The bag's only image topic is found, and that it is compressed.
    launched = ros2_launch('robocup.launch.py', bag=bag, params_file=params_file())
    wait_for(lambda: 'messages played' in launched.text, 60, 'the bag to be played')
    assert 'ready after' in launched.text
    assert 'not all subscribers came' not in launched.text
    status, text = launched.interrupt()
    assert status == 0
    assert text.count('process has finished cleanly') == 2


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'bag': 'WRONG'}, 'no bag at WRONG'),
        (
            {'image_topics': '/other'},
            f"topic '/other' is not in it.* Its topics: {IMAGE_TOPIC}",
        ),
        ({'params_file': 'WRONG'}, 'params_file:=WRONG: no such file'),
        ({'camera': 'webcam'}, 'camera:=webcam is unknown; give usb_cam or v4l2_camera'),
        ({'camera': 'v4l2_camera'}, "package 'v4l2_camera' not found"),
        ({'rviz': 'true'}, "package 'rviz2' not found"),
        ({'respawn': 'maybe'}, 'respawn:=maybe; give true or false'),
        ({'use_sim_time': 'maybe'}, 'use_sim_time:=maybe; give true or false'),
    ],
)
def test_a_wrong_input_ends_the_launch_before_anything_starts(
    ros2_launch, tmp_path, arguments, message
):
    bag = build_bag(1).save(tmp_path / 'drive')
    status, text = ros2_launch('robocup.launch.py', **{'bag': bag, **arguments}).wait()
    assert status == 1
    assert re.search(message, text)
    assert 'process started' not in text
    (line,) = (line for line in text.splitlines() if '[ERROR]' in line)
    assert re.search(message, line)


def test_everything_ends_where_the_bag_breaks_off(ros2_launch, tmp_path, params_file):
    bag = build_bag(200).save(tmp_path / 'drive')
    (storage,) = bag.glob('*.mcap')
    content = bytearray(storage.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = b'\xff' * 4000
    storage.write_bytes(content)
    status, text = ros2_launch('robocup.launch.py', bag=bag, params_file=params_file()).wait(90)
    assert status == 1
    assert 'the bag was not played' in text


def labels_of_new_frames(robot, camera, mask):  # noqa: F811
    """Send frames until labels of one of them come."""
    robot.received[mask].clear()

    def answered():
        camera.publish(image_message(stripes()[0], robot.header()))
        time.sleep(0.05)
        return robot.received[mask]

    return wait_for(answered, 60, f'labels on {mask}')


def test_a_killed_node_comes_back_and_goes_on(robot, ros2_launch, params_file):  # noqa: F811
    launched = ros2_launch('robocup.launch.py', namespace='again', params_file=params_file())
    mask, camera = '/again/segmentation/label_mask', robot.camera('/again/image', wait=False)

    def pids():
        found = re.findall(r'process started with pid \[(\d+)', launched.text)
        return [int(pid) for pid in found]

    wait_for(pids, 60, 'a node')
    wait_for(camera.get_subscription_count, 60, 'an active node')
    robot.listen(mask)
    labels_of_new_frames(robot, camera, mask)
    os.kill(pids()[-1], 9)
    wait_for(lambda: len(pids()) > 1, 60, 'another node')
    labels_of_new_frames(robot, camera, mask)
    assert launched.process.poll() is None


def test_two_nodes_in_two_namespaces_serve_their_own_cameras(
    robot,  # noqa: F811
    ros2_launch,
    params_file,
    tmp_path,
):
    include = f"""
  <group>
    <push_ros_namespace namespace="%s"/>
    <include file="$(find-pkg-share seg_ros)/launch/robocup.launch.py">
      <arg name="params_file" value="{params_file()}"/>
      <arg name="image_topics" value="%s/image"/>
    </include>
  </group>"""
    parent = tmp_path / 'parent.launch.xml'
    parent.write_text(f'<launch>{include % ("left", "eye")}{include % ("right", "eye")}</launch>')
    launched = ros2_launch(parent)
    for side in ('left', 'right'):
        mask = f'/{side}/segmentation/label_mask'
        camera = robot.camera(f'/{side}/eye/image', wait=False)
        robot.listen(mask)
        assert labels_of_new_frames(robot, camera, mask)
    assert launched.process.poll() is None


def test_debug_tells_of_every_frame(robot, ros2_launch, params_file):  # noqa: F811
    launched = ros2_launch('robocup.launch.py', log_level='debug', params_file=params_file())
    mask, camera = '/segmentation/label_mask', robot.camera('/image')
    robot.listen(mask)
    labels_of_new_frames(robot, camera, mask)
    _, text = launched.interrupt()
    assert "parameters: NodeConfig(model='" in text
    assert re.search(r'\[DEBUG\].*\[segmentation\]: image: label_mask after [\d.]+ ms', text)
    assert not re.search(r'\[DEBUG\].*\[rcl', text)


@pytest.mark.parametrize('file', ['robocup.launch.py', 'road.launch.py'])
def test_a_wrong_configuration_ends_the_launch_with_the_reason(ros2_launch, file):
    status, text = ros2_launch(file, model='nosuch').wait()
    assert status == 1
    assert "no model 'nosuch'" in text
    assert 'refused its configuration' in text
    assert text.count('process started') == 1  # no respawn


CAMERA = """
import sys, rclpy
from sensor_msgs.msg import Image
rclpy.init(args=sys.argv)
node = rclpy.create_node('driver')
publisher = node.create_publisher(Image, 'image_raw', 1)
image = Image(height=48, width=64, step=192, encoding='rgb8', data=bytes(48 * 192))
node.create_timer(0.1, lambda: publisher.publish(image))
try:
    rclpy.spin(node)
except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
    pass
"""


def test_a_camera_publishes_what_the_node_listens_to(
    robot,  # noqa: F811
    ros2_launch,
    stand_in,
    params_file,
):
    stand_in('usb_cam', 'usb_cam_node_exe', CAMERA)
    ros2_launch(
        'robocup.launch.py',
        camera='usb_cam',
        image_topics='front/image_raw',
        namespace='rig',
        params_file=params_file(),
    )
    robot.listen('/rig/segmentation/label_mask')
    wait_for(lambda: robot.received['/rig/segmentation/label_mask'], 60, 'labels')
    assert robot.node.count_publishers('/rig/front/image_raw') == 1
