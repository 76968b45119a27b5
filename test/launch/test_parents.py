"""Inclusion from the launch file of a whole robot, whose names may be ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from test.launch.test_handed_on import NODE

pytestmark = pytest.mark.ros

README = (Path(__file__).resolve().parents[2] / 'README.md').read_text(encoding='utf-8')
# Each has a model and a params_file of its own, includes ours in a scope, and starts something
# after it that reads its own ones again.
PARENTS = {
    'python': (
        'launch.py',
        """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, LogInfo
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import PushRosNamespace
from launch_ros.substitutions import FindPackageShare


def generate_launch_description():
    segmentation = GroupAction(
        [
            PushRosNamespace('robot1'),
            IncludeLaunchDescription(
                [FindPackageShare('seg_ros'), '/launch/robocup.launch.py'],
                launch_arguments={'image_topics': 'front/image', 'namespace': 'head'}.items(),
            ),
        ],
        forwarding=False,
        launch_configurations={'use_sim_time': LaunchConfiguration('use_sim_time')},
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument('model', default_value='robot.urdf'),
            DeclareLaunchArgument('params_file', default_value='nav2.yaml'),
            DeclareLaunchArgument('use_sim_time', default_value='False'),
            segmentation,
            LogInfo(msg=['AFTER ', *(LaunchConfiguration(n) for n in ('model', 'params_file'))]),
        ]
    )
""",
    ),
    'xml': (
        'launch.xml',
        f"""
<launch>
  <arg name="model" default="robot.urdf"/>
  <arg name="params_file" default="nav2.yaml"/>
  <arg name="use_sim_time" default="False"/>
  {README.partition('```xml')[2].partition('```')[0]}
  <log message="AFTER $(var model)$(var params_file)"/>
</launch>
""",
    ),
    'yaml': (
        'launch.yaml',
        """
launch:
- arg: {name: model, default: robot.urdf}
- arg: {name: params_file, default: nav2.yaml}
- arg: {name: use_sim_time, default: 'False'}
- group:
    forwarding: false
    keep:
    - {name: use_sim_time, value: $(var use_sim_time)}
    children:
    - push_ros_namespace: {namespace: robot1}
    - include:
        file: $(find-pkg-share seg_ros)/launch/robocup.launch.py
        arg:
        - {name: image_topics, value: front/image}
        - {name: namespace, value: head}
- log: {message: AFTER $(var model)$(var params_file)}
""",
    ),
}


@pytest.mark.parametrize('language', PARENTS)
def test_a_parent_includes_the_launch_file_in_a_scope(ros2_launch, stand_in, tmp_path, language):
    stand_in('seg_ros', 'segmentation_node', NODE)
    ending, content = PARENTS[language]
    parent = tmp_path / f'parent.{ending}'
    parent.write_text(content)
    status, text = ros2_launch(parent).wait()
    assert status == 0, text
    (node,) = (
        json.loads(line.partition('GIVEN ')[2]) for line in text.splitlines() if 'GIVEN ' in line
    )
    assert node['name'] == '/robot1/head/segmentation'
    assert node['model'] == 'robocup_mini_unet'
    assert node['image_topics'] == ['front/image']
    assert node['use_sim_time'] is False
    assert 'AFTER robot.urdfnav2.yaml' in text


def test_defaults_do_not_reach_what_a_parent_includes_later(ros2_launch, stand_in, tmp_path):
    stand_in('seg_ros', 'segmentation_node', NODE)
    parent = tmp_path / 'parent.launch.xml'
    parent.write_text("""
<launch>
  <include file="$(find-pkg-share seg_ros)/launch/robocup.launch.py"/>
  <arg name="params_file" default="nav2.yaml"/>
  <log message="AFTER $(var params_file)"/>
</launch>
""")
    status, text = ros2_launch(parent).wait()
    assert status == 0, text
    assert 'AFTER nav2.yaml' in text


def test_sim_time_that_a_parent_sets_for_all_its_nodes_is_kept(ros2_launch, stand_in, tmp_path):
    stand_in('seg_ros', 'segmentation_node', NODE)
    parent = tmp_path / 'parent.launch.xml'
    parent.write_text("""
<launch>
  <set_parameter name="use_sim_time" value="true"/>
  <include file="$(find-pkg-share seg_ros)/launch/robocup.launch.py"/>
</launch>
""")
    _, text = ros2_launch(parent).wait()
    (line,) = (line for line in text.splitlines() if 'GIVEN ' in line)
    assert json.loads(line.partition('GIVEN ')[2])['use_sim_time'] is True
