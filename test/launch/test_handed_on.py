"""What the launch files hand on to the processes that they start, and to their parents."""

from __future__ import annotations

import json
import os
import re
import shutil

import pytest
import yaml

from seg_ros.node.config import NodeConfig
from test.evaluation.conftest import IMAGE_TOPIC, build_bag

pytestmark = pytest.mark.ros

# In the place of the node: says what it was given, and ends with a chosen status.
NODE = """
import json, os, sys
import rclpy
rclpy.init(args=sys.argv)
node = rclpy.create_node('segmentation', automatically_declare_parameters_from_overrides=True)
given = {name: entry.value for name, entry in node.get_parameters_by_prefix('').items()}
given = {k: v.tolist() if hasattr(v, 'tolist') else v for k, v in given.items()}
given['name'] = node.get_fully_qualified_name()
given['is_debug'] = node.get_logger().is_enabled_for(rclpy.logging.LoggingSeverity.DEBUG)
given['others_debug'] = rclpy.logging.get_logger('rcl').is_enabled_for(
    rclpy.logging.LoggingSeverity.DEBUG
)
print('GIVEN', json.dumps(given), flush=True)
sys.exit(int(os.environ.get('NODE_STATUS', '0')))
"""
# In the place of RViz: says what it shows.
RVIZ = """
import json, sys
import rclpy
from sensor_msgs.msg import Image
rclpy.init(args=sys.argv)
node = rclpy.create_node('rviz')
shown = ('/camera/image_raw', '/segmentation/overlay', '/segmentation/color_mask')
topics = [node.create_subscription(Image, topic, print, 1).topic_name for topic in shown]
print('SHOWN', json.dumps(topics), flush=True)
"""


@pytest.fixture
def given(ros2_launch, stand_in):
    """Launch with a stand-in for the node: (status, what it was given, all that was printed)."""
    stand_in('seg_ros', 'segmentation_node', NODE)

    def run(file='robocup.launch.py', *, node_status=0, **arguments):
        environment = {'NODE_STATUS': str(node_status)}
        status, text = ros2_launch(file, environment=environment, **arguments).wait()
        found = [line.partition('GIVEN ')[2] for line in text.splitlines() if 'GIVEN ' in line]
        return status, [json.loads(line) for line in found], text

    return run


def test_the_file_decides_what_is_not_given(given, tmp_path):
    params_file = tmp_path / 'params.yaml'
    values = {'model': 'from_file', 'image_topics': ['/a', '/b'], 'use_sim_time': True}
    params_file.write_text(yaml.safe_dump({'/**': {'ros__parameters': values}}))
    _, (node,), _ = given(params_file=params_file)
    assert {name: node[name] for name in values} == values
    assert node['name'] == '/segmentation'
    _, (node,), _ = given(params_file=params_file, model='1.0', use_sim_time='false')
    assert (node['model'], node['use_sim_time']) == ('1.0', False)


@pytest.mark.parametrize(
    ('text', 'value'),
    [('True', True), ('true', True), ('1', True), ('False', False), ('false', False)],
)
def test_use_sim_time_is_written_as_launch_users_write_it(given, text, value):
    status, (node,), _ = given(use_sim_time=text)
    assert (status, node['use_sim_time']) == (0, value)


@pytest.mark.parametrize(
    ('text', 'topics'),
    [
        ('/camera/image_raw', ['/camera/image_raw']),
        ('[/front/image_raw, rear/image_raw]', ['/front/image_raw', 'rear/image_raw']),
        ("['/front/image_raw','/rear/image_raw']", ['/front/image_raw', '/rear/image_raw']),
        ('/front/image_raw,/rear/image_raw', ['/front/image_raw', '/rear/image_raw']),
    ],
)
def test_one_image_topic_or_several(given, text, topics):
    _, (node,), _ = given(image_topics=text)
    assert node['image_topics'] == topics


def test_each_file_has_its_parameters(given):
    models = [given(file)[1][0]['model'] for file in ('robocup.launch.py', 'road.launch.py')]
    assert models == ['robocup_mini_unet', 'road_linknet']


def test_debug_lines_are_those_of_the_node_only(given):
    _, (node,), _ = given(namespace='rig/left', log_level='debug')
    assert (node['name'], node['is_debug']) == ('/rig/left/segmentation', True)
    assert not node['others_debug']
    _, (node,), _ = given(namespace='rig/left')
    assert not node['is_debug']


@pytest.mark.parametrize('respawn', ['true', 'False'])
def test_a_wrong_configuration_ends_the_launch(given, respawn):
    status, nodes, text = given(node_status=os.EX_CONFIG, respawn=respawn)
    assert (status, len(nodes)) == (1, 1), text
    assert 'segmentation_node-1 refused its configuration; the reason is above' in text


def test_a_node_that_was_asked_to_end_is_not_started_again(given):
    status, nodes, _ = given(respawn='true')
    assert (status, len(nodes)) == (0, 1)


def test_rosbag2_plays_where_it_is_installed(given, stand_in, distribution, tmp_path, monkeypatch):
    stand_in('ros2bag', 'ros2bag', '')
    ros2 = shutil.which('ros2', path=distribution['PATH'])
    front = tmp_path / 'bin' / 'ros2'
    front.parent.mkdir()
    front.write_text(f'#!/bin/sh\n[ "$1" = bag ] && echo "PLAYED $*" || exec {ros2} "$@"\n')
    front.chmod(0o755)
    path = f'{front.parent}{os.pathsep}{distribution["PATH"]}'
    monkeypatch.setitem(distribution, 'PATH', path)
    bag = build_bag(1).save(tmp_path / 'drive')
    _, (node,), text = given(bag=bag, loop='True', use_sim_time='true')
    played = re.search('PLAYED (.*)', text)[1].split()
    assert played[:3] == ['bag', 'play', str(bag)]
    assert played[-3:] == ['--loop', '--clock', '100']
    assert node['image_topics'] == [IMAGE_TOPIC.removesuffix('/compressed')]
    assert (node['image_transport'], node['use_sim_time']) == ('compressed', True)


@pytest.mark.parametrize('topics', [('front/image_raw',), ('front/image_raw', '/rear/image_raw')])
def test_rviz_shows_the_topics_of_a_pushed_namespace(ros2_launch, stand_in, tmp_path, topics):
    stand_in('seg_ros', 'segmentation_node', NODE)
    stand_in('rviz2', 'rviz2', RVIZ)
    parent = tmp_path / 'parent.launch.xml'
    parent.write_text(f"""
<launch>
  <push_ros_namespace namespace="robot1"/>
  <include file="$(find-pkg-share seg_ros)/launch/robocup.launch.py">
    <arg name="rviz" value="True"/>
    <arg name="namespace" value="head"/>
    <arg name="image_topics" value="{', '.join(topics)}"/>
  </include>
</launch>
""")
    _, text = ros2_launch(parent).wait()
    (shown,) = (line.partition('SHOWN ')[2] for line in text.splitlines() if 'SHOWN ' in line)
    root, camera = '/robot1/head', NodeConfig(image_topics=topics).camera_names()[topics[0]]
    outputs = [f'{root}/segmentation/{camera}{name}' for name in ('overlay', 'color_mask')]
    assert json.loads(shown) == [f'{root}/front/image_raw', *outputs]
