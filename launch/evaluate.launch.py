"""Play a bag through the node, score it, write a report and end.

ros2 launch seg_ros evaluate.launch.py bag:=DRIVE label_topic:=/ground_truth/labels \
    model:=road_linknet html:=report.html min_miou:=0.5

The exit status is not 0 when the mIoU is below min_miou or nothing could be scored.
"""

import shutil
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit, OnProcessIO
from launch.events import Shutdown
from launch.events.process import ProcessExited, ProcessIO
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from seg_ros.bags import COMPRESSED_IMAGE_TYPE, Bag
from seg_ros.node.config import COMPRESSED, RAW
from seg_ros.node.runtime import large_image_environment

CLOCK_HZ = '100'
DISCOVERY_S = '4'  # participants announce themselves every three seconds
START_WITHIN_S = 60.0

# name, default (None: must be given), meaning
ARGUMENTS = (
    ('bag', None, 'Folder of the rosbag2'),
    ('image_topic', '', 'Image topic as it is in the bag; the only one by default'),
    ('label_topic', '/ground_truth/labels', 'Topic of the true labels'),
    ('model', 'robocup_mini_unet', 'Name or path of the model folder'),
    ('backend', 'auto', 'Inference engine'),
    ('void_ids', '[255]', 'Ids of the truth that mean void, as a list'),
    ('rate', '1.0', 'Speed of playing'),
    ('start', '0.0', 'Seconds of the bag to leave out in front'),
    ('loop', 'false', 'Play again and again; end with Ctrl-C'),
    ('clock', 'false', 'Publish /clock and let the nodes use it'),
    ('min_miou', '0.0', 'Fail below this mIoU'),
    ('quiet_after_s', '5.0', 'End when nothing came for this time'),
    ('json', '', 'File for the report as JSON'),
    ('html', 'evaluation.html', 'File for the report as a page'),
)


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, description=meaning, default_value=default)
        for name, default, meaning in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_actions)])


def _actions(context: LaunchContext) -> list:
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    with Bag(given['bag']) as bag:
        image_topic = given['image_topic'] or bag.only_image_topic(given['label_topic'])
        is_compressed = bag.topic(image_topic).type == COMPRESSED_IMAGE_TYPE
        truth = bag.topic(given['label_topic'])
    sim_time = {'use_sim_time': given['clock'] == 'true'}
    segmentation = Node(
        package='seg_ros',
        executable='segmentation_node',
        name='segmentation',
        parameters=[
            {
                'model': given['model'],
                'backend': given['backend'],
                'image_topics': [image_topic.removesuffix(f'/{COMPRESSED}')],
                'image_transport': COMPRESSED if is_compressed else RAW,
                **sim_time,
            }
        ],
        output='screen',
    )
    evaluation = Node(
        package='seg_ros',
        executable='evaluation_node',
        name='evaluation',
        remappings=[('image', image_topic), ('ground_truth/labels', truth.name)],
        parameters=[
            {
                'image_transport': COMPRESSED if is_compressed else RAW,
                'truth_transport': COMPRESSED if truth.type == COMPRESSED_IMAGE_TYPE else RAW,
                'void_ids': _void_ids(given['void_ids']),
                'min_miou': _number('min_miou', given),
                'quiet_after_s': _number('quiet_after_s', given),
                'start_within_s': START_WITHIN_S,
                'json': _absolute(given['json']),
                'html': _absolute(given['html']),
                **sim_time,
            }
        ],
        output='screen',
    )
    player = _player(given, [image_topic, truth.name])
    started: list[bool] = []

    def start_player(event: ProcessIO) -> ExecuteProcess | None:
        """The evaluator says when the node under test listens: no frame is lost before that."""
        if started or b'ready:' not in event.text:
            return None
        started.append(True)
        return player

    return [
        segmentation,
        evaluation,
        RegisterEventHandler(
            OnProcessIO(target_action=evaluation, on_stdout=start_player, on_stderr=start_player)
        ),
        RegisterEventHandler(OnProcessExit(target_action=evaluation, on_exit=_end)),
        RegisterEventHandler(OnProcessExit(target_action=segmentation, on_exit=_end)),
    ]


def _player(given: dict[str, str], topics: list[str]) -> ExecuteProcess:
    """``ros2 bag play`` where it is installed, the package's own player elsewhere."""
    options = ['--rate', str(_number('rate', given))]
    options += ['--loop'] if given['loop'] == 'true' else []
    options += ['--clock', CLOCK_HZ] if given['clock'] == 'true' else []
    options += ['--topics', *topics]
    skipped_s = _number('start', given)
    if _has_rosbag2():
        # It refuses an offset of 0 and cannot wait for subscribers.
        offset = ['--start-offset', given['start']] if skipped_s > 0 else []
        fixed = ['--delay', DISCOVERY_S, '--disable-keyboard-controls']
        return ExecuteProcess(
            cmd=['ros2', 'bag', 'play', given['bag'], *offset, *fixed, *options],
            additional_env=large_image_environment(),
            output='screen',
        )
    # The node under test and the evaluator take the images, the evaluator alone the labels.
    waiting = ['--subscribers', '2', '1', '--wait', str(START_WITHIN_S / 2)]
    return Node(
        package='seg_ros',
        executable='bag_player',
        arguments=[given['bag'], '--start', given['start'], *options, *waiting],
        output='screen',
    )


def _has_rosbag2() -> bool:
    try:
        get_package_prefix('ros2bag')
    except PackageNotFoundError:
        return False
    return shutil.which('ros2') is not None


def _number(name: str, given: dict[str, str]) -> float:
    try:
        return float(given[name])
    except ValueError:
        raise ValueError(f'{name}:={given[name]} is no number; give one such as 0.5') from None


def _void_ids(text: str) -> list[int]:
    try:
        return [int(value) for value in text.strip('[] ').split(',')]
    except ValueError:
        raise ValueError(f'void_ids:={text} is no list; give one such as [11,255]') from None


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if path else ''


def _end(event: ProcessExited, context: LaunchContext) -> EmitEvent | None:
    """End everything; launch takes an exception for a failure and exits with status 1."""
    if context.is_shutdown:
        return None
    if event.returncode != 0:
        raise RuntimeError(f'{event.process_name} ended with status {event.returncode}')
    return EmitEvent(event=Shutdown(reason='the bag was scored'))
