"""Segment the images of one or several cameras, from a driver or from a bag.

ros2 launch seg_ros segmentation.launch.py image_topics:=/camera/image_raw model:=road_linknet

robocup.launch.py and road.launch.py are this file with another params_file. Parameters of the node
that are no arguments here belong into that file.
"""

import json
import os
import posixpath
import subprocess
from pathlib import Path

from ament_index_python.packages import (
    get_package_prefix,
    get_package_share_directory,
    get_packages_with_prefixes,
)
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    GroupAction,
    OpaqueFunction,
)
from launch.events import matches_action
from launch.events.process import ProcessExited, ShutdownProcess
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

SHARE = get_package_share_directory('seg_ros')
EXECUTABLES = f'{get_package_prefix("seg_ros")}/lib/seg_ros'
CAMERA_DRIVERS = {'usb_cam': 'usb_cam_node_exe', 'v4l2_camera': 'v4l2_camera_node'}
# Shared memory that holds images, for who sends them: Fast DDS 2 reads one variable, 3 the other.
FAST_DDS = 'FASTRTPS' if os.environ.get('ROS_DISTRO') in ('humble', 'jazzy') else 'FASTDDS'
PROFILE = f'{FAST_DDS}_DEFAULT_PROFILES_FILE'
SENDER_ENV = {PROFILE: os.environ.get(PROFILE, f'{SHARE}/config/fastdds.xml')}

# name, default, meaning
ARGUMENTS = (
    ('params_file', f'{SHARE}/config/robocup.yaml', 'Parameters of the node'),
    ('model', '', 'Name or path of the model folder; empty: as params_file says'),
    ('image_topics', '', 'A topic, or several: [/front/image, /rear/image]; empty: as the file'),
    ('namespace', '', 'Namespace of the node and its topics'),
    ('use_sim_time', '', 'Take the time from /clock: true or false; empty: as the file'),
    ('camera', '', f'Driver to start for image_topics: {" or ".join(CAMERA_DRIVERS)}'),
    ('bag', '', 'rosbag2 to play; without image_topics its only image topic is taken'),
    ('loop', 'false', 'Play the bag again and again'),
    ('rviz', 'false', 'Start RViz with image, overlay and label colours of the first camera'),
    ('respawn', 'true', 'Start node and driver again when they crash'),
    ('log_level', 'info', 'Lowest level that the node logs'),
)


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=meaning)
        for name, default, meaning in ARGUMENTS
    ]
    # A scope of its own: these defaults do not reach what a parent includes after this file.
    return LaunchDescription([GroupAction([*declared, OpaqueFunction(function=start)])])


def start(context: LaunchContext) -> list:
    given = context.launch_configurations
    driver, bag, in_rviz = given['camera'], given['bag'], is_true(given, 'rviz')
    topics = [topic.strip(' \'"') for topic in given['image_topics'].strip('[] ').split(',')]
    topics = list(filter(None, topics))
    # PushRosNamespace keeps its namespaces under this name.
    namespace = posixpath.join('/', given.get('ros_namespace', ''), given['namespace'])
    parameters, sim_time = {}, {}

    # What is wrong ends the launch here, before anything is started.
    if not Path(given['params_file']).is_file():
        raise FileNotFoundError(f'params_file:={given["params_file"]}: no such file')
    if driver and driver not in CAMERA_DRIVERS:
        raise ValueError(f'camera:={driver} is unknown; give {" or ".join(CAMERA_DRIVERS)}')
    for package in [driver] * bool(driver) + ['rviz2'] * in_rviz:
        get_package_prefix(package)
    if bag:
        found = topics_of_bag(bag, [posixpath.join(namespace, topic) for topic in topics])
        topics = topics or found['image_topics']
        parameters['image_transport'] = found['image_transport']

    if topics:
        parameters['image_topics'] = topics
    if given['model']:
        parameters['model'] = ParameterValue(given['model'], value_type=str)
    if given['use_sim_time']:
        sim_time['use_sim_time'] = is_true(given, 'use_sim_time')
    common = {'namespace': given['namespace'], 'output': 'screen'}
    respawn = {'respawn': is_true(given, 'respawn'), 'respawn_delay': 1.0}
    logger = f'{namespace}/segmentation'.strip('/').replace('//', '/').replace('/', '.')
    nodes = [
        Node(
            package='seg_ros',
            executable='segmentation_node',
            name='segmentation',
            parameters=[given['params_file'], {**parameters, **sim_time}],
            ros_arguments=['--log-level', f'{logger}:={given["log_level"]}'],
            on_exit=after_node,
            emulate_tty=True,
            **respawn,
            **common,
        )
    ]
    image = topics[0] if topics else 'image'
    if driver:
        info = posixpath.join(posixpath.dirname(image), 'camera_info')
        nodes.append(
            Node(
                package=driver,
                executable=CAMERA_DRIVERS[driver],
                name='camera',
                remappings=[('image_raw', image), ('camera_info', info)],
                parameters=[sim_time],
                additional_env=SENDER_ENV,
                **respawn,
                **common,
            )
        )
    if bag:
        # The node loads its model before it listens.
        play = [f'{EXECUTABLES}/bag_player', bag, '--wait', '30', '--any-topic']
        if 'ros2bag' in get_packages_with_prefixes():
            play = ['ros2', 'bag', 'play', bag, '--delay', '5', '--disable-keyboard-controls']
        play += ['--loop'] * is_true(given, 'loop')
        play += ['--clock', '100'] * sim_time.get('use_sim_time', False)
        nodes.append(
            ExecuteProcess(cmd=play, additional_env=SENDER_ENV, on_exit=after_bag, output='screen')
        )
    if in_rviz:
        # In the namespace of the node: relative names mean the same topics there.
        several = posixpath.dirname(image).strip('/').replace('/', '_') if topics[1:] else ''
        outputs = [
            (f'/segmentation/{name}', posixpath.join('segmentation', several, name))
            for name in ('overlay', 'color_mask', 'confidence')
        ]
        nodes.append(
            Node(
                package='rviz2',
                executable='rviz2',
                arguments=['-d', f'{SHARE}/config/seg_ros.rviz'],
                remappings=[('/camera/image_raw', image), *outputs],
                parameters=[sim_time],
                **common,
            )
        )
    return nodes


def is_true(given: dict, name: str) -> bool:
    if (text := given[name].lower()) not in ('true', 'false', '1', '0'):
        raise ValueError(f'{name}:={given[name]}; give true or false')
    return text in ('true', '1')


def topics_of_bag(bag: str, topics: list[str]) -> dict:
    """Ask the package, which reads bags, what the node shall subscribe to."""
    command = [f'{EXECUTABLES}/bag_topics', bag, *topics]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f'bag:={bag} cannot be played; {done.stderr.strip()}')
    return json.loads(done.stdout)


def after_node(event: ProcessExited, context: LaunchContext) -> EmitEvent | None:
    """Leave the respawn to crashes: a wrong configuration would be wrong again."""
    if context.is_shutdown:
        return None
    if event.returncode == os.EX_CONFIG:
        # launch takes an exception for a failure and exits with status 1
        raise RuntimeError(f'{event.process_name} refused its configuration; the reason is above')
    if event.returncode == 0:  # it was asked to end
        return EmitEvent(event=ShutdownProcess(process_matcher=matches_action(event.action)))
    return None


def after_bag(event: ProcessExited, context: LaunchContext) -> None:
    """Go on with the node after the bag, but not where it could not be played to its end."""
    if event.returncode != 0 and not context.is_shutdown:
        raise RuntimeError(f'the bag was not played: status {event.returncode}')
