"""What the launch files of the node share: arguments, node, RViz."""

from __future__ import annotations

from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from seg_ros.backends import AUTO, BACKENDS
from seg_ros.node.config import COMPRESSED, RAW
from seg_ros.node.runtime import ALLOCATOR_ENVIRONMENT
from seg_ros.share import share_file

_FROM_FILE = ''  # an argument left at this value keeps what params_file says


def build_launch_description(params_file: str, models: tuple[str, ...]) -> LaunchDescription:
    """Launch one segmentation node.

    Args:
        params_file: File in ``config/`` that is the default of the argument of that name.
        models: Shipped models that suit this launch file, for the description.
    """
    choose = f'{", ".join(models)}, or the path of a model folder'
    arguments = (
        DeclareLaunchArgument(
            'image_topic',
            default_value=_FROM_FILE,
            description='Image topic without /compressed; default: as in params_file',
        ),
        DeclareLaunchArgument(
            'image_transport',
            default_value=_FROM_FILE,
            choices=[_FROM_FILE, RAW, COMPRESSED],
            description='How the images come; default: as in params_file',
        ),
        DeclareLaunchArgument(
            'model',
            default_value=_FROM_FILE,
            description=f'{choose}; default: as in params_file',
        ),
        DeclareLaunchArgument(
            'backend',
            default_value=_FROM_FILE,
            choices=[_FROM_FILE, AUTO, *BACKENDS],
            description='Inference engine; default: as in params_file',
        ),
        DeclareLaunchArgument(
            'params_file',
            default_value=str(share_file(f'config/{params_file}')),
            description='Parameters of the node; `ros2 run seg_ros interface` explains them',
        ),
        DeclareLaunchArgument(
            'namespace', default_value='', description='Namespace of the node and its topics'
        ),
        DeclareLaunchArgument(
            'use_sim_time',
            default_value='false',
            choices=['true', 'false'],
            description='Take the time from /clock',
        ),
        DeclareLaunchArgument(
            'rviz',
            default_value='false',
            choices=['true', 'false'],
            description='Start RViz with image, overlay and label colours',
        ),
        DeclareLaunchArgument(
            'respawn',
            default_value='true',
            choices=['true', 'false'],
            description='Start the node again if it dies',
        ),
        DeclareLaunchArgument(
            'log_level',
            default_value='info',
            choices=['debug', 'info', 'warn', 'error', 'fatal'],
            description='Lowest level that is logged',
        ),
    )
    rviz = Node(
        package='rviz2',
        executable='rviz2',
        arguments=['-d', str(share_file('config/seg_ros.rviz'))],
        parameters=[{'use_sim_time': _boolean('use_sim_time')}],
        condition=IfCondition(LaunchConfiguration('rviz')),
    )
    return LaunchDescription([*arguments, OpaqueFunction(function=_node), rviz])


def _boolean(name: str) -> ParameterValue:
    return ParameterValue(LaunchConfiguration(name), value_type=bool)


def _node(context: LaunchContext) -> list[Node]:
    """The node, with those arguments as parameters that were given."""
    given: dict[str, Any] = {'use_sim_time': _boolean('use_sim_time')}
    for name in ('model', 'backend', 'image_transport'):
        if value := LaunchConfiguration(name).perform(context):
            given[name] = ParameterValue(value, value_type=str)
    if topic := LaunchConfiguration('image_topic').perform(context):
        given['image_topics'] = [topic]
    node = Node(
        package='seg_ros',
        executable='segmentation_node',
        name='segmentation',
        namespace=LaunchConfiguration('namespace'),
        parameters=[LaunchConfiguration('params_file'), given],
        arguments=['--ros-args', '--log-level', LaunchConfiguration('log_level')],
        additional_env=ALLOCATOR_ENVIRONMENT,
        respawn=_respawns(context),
        respawn_delay=1.0,
        output='screen',
        emulate_tty=True,
    )
    return [node]


def _respawns(context: LaunchContext) -> bool:
    return LaunchConfiguration('respawn').perform(context) == 'true'
