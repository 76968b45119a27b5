"""What the launch files of the node share: arguments, node, camera or bag, RViz."""

from __future__ import annotations

from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from seg_ros.node.config import NodeConfig
from seg_ros.node.launch_arguments import (
    CAMERA_DRIVERS,
    Argument,
    given_parameters,
    launch_arguments,
)
from seg_ros.node.launch_inputs import bag_parameters, file_parameters
from seg_ros.node.runtime import large_image_environment
from seg_ros.schema import from_mapping
from seg_ros.share import share_file


def build_launch_description(params_file: str, models: tuple[str, ...]) -> LaunchDescription:
    """Launch one segmentation node, and what was asked for beside it.

    Args:
        params_file: File in ``config/`` that is the default of the argument of that name.
        models: Shipped models that suit this launch file, for the description.
    """
    arguments = launch_arguments(str(share_file(f'config/{params_file}')), models)

    def actions(context: LaunchContext) -> list[Any]:
        names = [argument.name for argument in arguments]
        return _nodes({name: LaunchConfiguration(name).perform(context) for name in names})

    declared = [_declare(argument) for argument in arguments]
    return LaunchDescription([*declared, OpaqueFunction(function=actions)])


def _declare(argument: Argument) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(
        argument.name,
        default_value=argument.default,
        description=argument.description,
        choices=list(argument.choices) or None,
    )


def _nodes(given: dict[str, str]) -> list[Any]:
    # Before anything starts: launch leaves a process behind that starts while it fails.
    if driver := given['camera']:
        _require(driver, f'camera:={driver}')
    if given['rviz'] == 'true':
        _require('rviz2', 'rviz:=true')
    namespace, sim_time = given['namespace'], {'use_sim_time': given['use_sim_time'] == 'true'}
    parameters = given_parameters(given)
    of_file = file_parameters(given['params_file'], f'{_root(namespace)}/segmentation')
    config = from_mapping(NodeConfig, {**of_file, **parameters})
    if given['bag']:
        is_chosen = 'image_topics' in parameters
        found = bag_parameters(given['bag'], config, namespace, chosen=is_chosen)
        parameters |= found
        config = from_mapping(NodeConfig, {**of_file, **parameters})
    nodes: list[Any] = [
        Node(
            package='seg_ros',
            executable='segmentation_node',
            name='segmentation',
            namespace=namespace,
            parameters=[given['params_file'], {**_typed(parameters), **sim_time}],
            arguments=['--ros-args', '--log-level', given['log_level']],
            respawn=given['respawn'] == 'true',
            respawn_delay=1.0,
            output='screen',
            emulate_tty=True,
        )
    ]
    if driver:
        nodes.append(_camera(driver, config.image_topics[0], given))
    if given['bag']:
        nodes += _player(given)
    if given['rviz'] == 'true':
        nodes.append(_rviz(config, namespace, sim_time))
    return nodes


def _require(package: str, argument: str) -> None:
    try:
        get_package_prefix(package)
    except PackageNotFoundError as error:
        debian = f'ros-$ROS_DISTRO-{package.replace("_", "-")}'
        raise ValueError(
            f'{argument} needs the package {package!r}, which is not installed: '
            f'apt-get install {debian}'
        ) from error


def _root(namespace: str) -> str:
    """What stands before the names of a namespace; empty for the root."""
    return f'/{namespace.strip("/")}'.rstrip('/')


def _typed(parameters: dict[str, Any]) -> dict[str, Any]:
    """Texts as texts: launch would read '{line: field}' as YAML."""
    kinds = {str: str, list: list[str]}
    return {
        name: ParameterValue(value, value_type=kinds[type(value)])
        if isinstance(value, str)
        or (isinstance(value, list) and not isinstance((value or [''])[0], int))
        else value
        for name, value in parameters.items()
    }


def _rviz(config: NodeConfig, namespace: str, sim_time: dict[str, bool]) -> Node:
    """RViz on the first camera; its file names the topics of a node without a namespace."""
    root = _root(namespace)
    topic, prefix = next(iter(config.camera_names().items()))
    image = topic if topic.startswith('/') else f'{root}/{topic}'
    shown = ('overlay', 'color_mask', 'confidence')
    outputs = [(f'/segmentation/{n}', f'{root}/segmentation/{prefix}{n}') for n in shown]
    return Node(
        package='rviz2',
        executable='rviz2',
        arguments=['-d', str(share_file('config/seg_ros.rviz'))],
        remappings=[('/camera/image_raw', image), *outputs],
        parameters=[sim_time],
    )


def _camera(driver: str, image_topic: str, given: dict[str, str]) -> Node:
    head, slash, _ = image_topic.rpartition('/')
    return Node(
        package=driver,
        executable=CAMERA_DRIVERS[driver],
        name='camera',
        namespace=given['namespace'],
        remappings=[('image_raw', image_topic), ('camera_info', f'{head}{slash}camera_info')],
        additional_env=large_image_environment(),
        respawn=given['respawn'] == 'true',
        respawn_delay=1.0,
        output='screen',
    )


def _player(given: dict[str, str]) -> list[Any]:
    # The first frames are for the node, which loads its model meanwhile; nobody may be there for
    # the other topics of the bag.
    options = ['--wait', '30', '--any-topic']
    options += ['--loop'] if given['loop'] == 'true' else []
    options += ['--clock'] if given['use_sim_time'] == 'true' else []
    player = Node(
        package='seg_ros',
        executable='bag_player',
        arguments=[given['bag'], *options],
        additional_env=large_image_environment(),
        output='screen',
    )
    return [player, RegisterEventHandler(OnProcessExit(target_action=player, on_exit=_played))]


def _played(event: ProcessExited, context: LaunchContext) -> None:
    """After the bag the node goes on; where it could not be played, everything ends."""
    if event.returncode != 0 and not context.is_shutdown:
        # launch takes an exception for a failure and exits with status 1
        raise RuntimeError(f'the bag was not played: status {event.returncode}')
