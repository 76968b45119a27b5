"""Play a bag through the node, score it, write a report where a file is named, and end.

ros2 launch seg_ros evaluate.launch.py bag:=DRIVE label_topic:=/ground_truth/labels \
    model:=road_linknet html:=report.html min_miou:=0.5

The exit status is not 0 when the mIoU is below min_miou, when it rests on a smaller share of the
true labels than min_scored, and when anything went wrong.
"""

import json
import os
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
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessIO
from launch.events import Shutdown
from launch.events.process import ProcessExited, ProcessIO
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

SHARE = get_package_share_directory('seg_ros')
EXECUTABLES = f'{get_package_prefix("seg_ros")}/lib/seg_ros'
# Shared memory that holds images, for who sends them: Fast DDS 2 reads one variable, 3 the other.
FAST_DDS = 'FASTRTPS' if os.environ.get('ROS_DISTRO') in ('humble', 'jazzy') else 'FASTDDS'
PROFILE = f'{FAST_DDS}_DEFAULT_PROFILES_FILE'
SENDER_ENV = {PROFILE: os.environ.get(PROFILE, f'{SHARE}/config/fastdds.xml')}
START_WITHIN_S = 60.0

# name, default (None: must be given), meaning
ARGUMENTS = (
    ('bag', None, 'Folder of the rosbag2'),
    ('image_topic', '', 'Image topic of the bag; the only one by default'),
    ('label_topic', '/ground_truth/labels', 'Topic of the true labels'),
    ('model', 'robocup_mini_unet', 'Name or path of the model folder'),
    ('params_file', '', 'Other parameters of the segmentation node'),
    ('void_ids', '[255]', 'Ids of the truth that mean void, as a list'),
    ('rate', '1.0', 'Speed of playing'),
    ('start', '0.0', 'Seconds of the bag to leave out in front'),
    ('loop', 'false', 'Play again and again; end with Ctrl-C'),
    ('clock', 'false', 'Publish /clock and let the nodes use it'),
    ('min_miou', '0.0', 'Fail below this mIoU'),
    ('min_scored', '0.9', 'Fail where a smaller share of the true labels could be scored'),
    ('quiet_after_s', '5.0', 'End when nothing came for this time'),
    ('json', '', 'File for the report as JSON'),
    ('html', '', 'File for the report as a page'),
    ('overwrite', 'false', 'Replace reports that exist'),
)


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=meaning)
        for name, default, meaning in ARGUMENTS
    ]
    return LaunchDescription([GroupAction([*declared, OpaqueFunction(function=start)])])


def start(context: LaunchContext) -> list:
    given = context.launch_configurations
    # What is wrong ends the launch here, before anything is started.
    if given['params_file'] and not Path(given['params_file']).is_file():
        raise FileNotFoundError(f'params_file:={given["params_file"]}: no such file')
    found = topics_of_bag(given)
    (image,) = found['image_topics']
    sim_time = {'use_sim_time': is_true(given, 'clock')}
    scoring = {
        'image_transport': found['image_transport'],
        'truth_transport': found['label_transport'],
        'expected_labels': 0 if is_true(given, 'loop') else found['labels'],
        'void_ids': void_ids(given['void_ids']),
        'start_within_s': START_WITHIN_S,
        'json': str(Path(given['json']).absolute()) if given['json'] else '',
        'html': str(Path(given['html']).absolute()) if given['html'] else '',
        'overwrite': is_true(given, 'overwrite'),
    }
    for name in ('min_miou', 'min_scored', 'quiet_after_s'):
        scoring[name] = number(given, name)
    player = ExecuteProcess(
        cmd=play(given, image, found),
        additional_env=SENDER_ENV,
        on_exit=after_bag,
        output='screen',
    )
    segmentation = Node(
        package='seg_ros',
        executable='segmentation_node',
        name='segmentation',
        parameters=[
            *([given['params_file']] if given['params_file'] else []),
            {
                'model': ParameterValue(given['model'], value_type=str),
                'image_topics': [image],
                'image_transport': found['image_transport'],
                **sim_time,
            },
        ],
        on_exit=after_segmentation,
        output='screen',
    )
    evaluation = Node(
        package='seg_ros',
        executable='evaluation_node',
        name='evaluation',
        remappings=[('image', image), ('ground_truth/labels', given['label_topic'])],
        parameters=[{**scoring, **sim_time}],
        on_exit=after_evaluation,
        output='screen',
    )
    started = []

    def start_player(event: ProcessIO) -> ExecuteProcess | None:
        """The evaluator says when the node under test listens: no frame is lost before that."""
        if started or b'ready:' not in event.text:
            return None
        started.append(True)
        return player

    ready = OnProcessIO(target_action=evaluation, on_stdout=start_player, on_stderr=start_player)
    return [RegisterEventHandler(ready), segmentation, evaluation]


def topics_of_bag(given: dict) -> dict:
    """Ask the package, which reads bags, what the nodes shall subscribe to."""
    topics = [given['image_topic']] if given['image_topic'] else []
    options = ['--labels', given['label_topic'], '--start', str(number(given, 'start'))]
    command = [f'{EXECUTABLES}/bag_topics', given['bag'], *topics, *options, '--need-labels']
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f'bag:={given["bag"]} cannot be scored; {done.stderr.strip()}')
    return json.loads(done.stdout)


def play(given: dict, image: str, found: dict) -> list[str]:
    """``ros2 bag play`` where it is installed, the package's own player elsewhere."""
    names = [
        f'{topic.removesuffix("/compressed")}/compressed' if transport == 'compressed' else topic
        for topic, transport in (
            (image, found['image_transport']),
            (given['label_topic'], found['label_transport']),
        )
    ]
    skipped_s, rate = number(given, 'start'), number(given, 'rate')
    options = ['--rate', str(rate), '--topics', *names]
    options += ['--loop'] * is_true(given, 'loop')
    options += ['--clock', '100'] * is_true(given, 'clock')
    if 'ros2bag' in get_packages_with_prefixes():
        # It refuses an offset of 0 and cannot wait for subscribers; they are announced every 3 s.
        options += ['--start-offset', str(skipped_s)] if skipped_s > 0 else []
        options += ['--delay', '4', '--disable-keyboard-controls']
        return ['ros2', 'bag', 'play', given['bag'], *options]
    # The node under test and the evaluator take the images, the evaluator alone the labels.
    options += ['--start', str(skipped_s)]
    options += ['--subscribers', '2', '1', '--wait', str(START_WITHIN_S / 2)]
    return [f'{EXECUTABLES}/bag_player', given['bag'], *options]


def is_true(given: dict, name: str) -> bool:
    if (text := given[name].lower()) not in ('true', 'false', '1', '0'):
        raise ValueError(f'{name}:={given[name]}; give true or false')
    return text in ('true', '1')


def number(given: dict, name: str) -> float:
    try:
        return float(given[name])
    except ValueError:
        raise ValueError(f'{name}:={given[name]} is no number; give one such as 0.5') from None


def void_ids(text: str) -> list[int]:
    try:
        return [int(value) for value in text.strip('[] ').split(',')]
    except ValueError:
        raise ValueError(f'void_ids:={text} is no list; give one such as [11,255]') from None


# launch takes an exception for a failure and exits with status 1.


def after_evaluation(event: ProcessExited, context: LaunchContext) -> EmitEvent | None:
    if context.is_shutdown:
        return None
    if event.returncode != 0:
        raise RuntimeError(
            f'evaluation failed with status {event.returncode}; the reason is above'
        )
    return EmitEvent(event=Shutdown(reason='the bag was scored'))


def after_segmentation(event: ProcessExited, context: LaunchContext) -> None:
    if not context.is_shutdown:
        raise RuntimeError(
            f'the node under test ended with status {event.returncode}; the reason is above'
        )


def after_bag(event: ProcessExited, context: LaunchContext) -> None:
    if event.returncode != 0 and not context.is_shutdown:
        raise RuntimeError(f'the bag was not played: status {event.returncode}')
