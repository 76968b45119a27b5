"""``python -m seg_ros <command>``: the one list of commands and the way they start.

Each command is a module of ``seg_ros.commands`` with ``add_arguments(parser)`` and
``run(args) -> int``. Neither imports torch, rclpy or an engine at module level, so that ``--help``
answers at once. ``ros2 run seg_ros <command>`` starts the same ``main``.
"""

from __future__ import annotations

import argparse
import importlib
import io
import keyword
import logging
import os
import signal
import sys
from pathlib import Path

ROS_ARGS = '--ros-args'

# command -> one line of help; the module is seg_ros.commands.<command with - as _>, and one _
# more where Python keeps the word for itself
COMMANDS: dict[str, str] = {
    'check-data': 'check a data set before training on it',
    'bag_player': 'play a rosbag2 where ros2 bag play is not at hand',
    'bag_topics': 'say what a node subscribes to where a rosbag2 is played',
    'demo': 'play a bag through the node, record and score what it publishes',
    'evaluate': 'score models on bags or datasets, with a report',
    'evaluation_node': 'score a running node against a topic of true labels',
    'export': 'export a trained net to a model folder, checked in every engine',
    'import': 'make a model of an ONNX graph of another project, checked in every engine',
    'nets': 'print what the nets cost: parameters, GMAC, time per frame in every backend',
    'interface': 'print the topics, services and parameters of a node',
    'find-lr': 'find a good learning rate for a recipe',
    'quantize': 'add an int8 variant to a model, with its measured loss',
    'render': 'render labelled RoboCup scenes into a folder or a bag',
    'predict': 'segment images, a video or a bag into label and overlay files',
    'segmentation_node': 'run the ROS 2 node',
    'train': 'train a net on labelled images',
}


def main(argv: list[str] | None = None, *, command: str | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; the process's own when None.
        command: The command, where the program's name already says it (``ros2 run``).

    Returns:
        The exit status: 0 for success, 2 for bad input (one line on stderr says what and why).
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')  # file names may be no UTF-8
    try:
        status = _run(argv, command)
        sys.stdout.flush()
    except BrokenPipeError:  # as of `| head`: whoever reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return status


def _run(argv: list[str] | None, command: str | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if command is None:
        if not arguments or arguments[0] in ('-h', '--help'):
            print(_overview())
            return 0
        command = arguments.pop(0)
    if command not in COMMANDS:
        print(f'unknown command {command!r}; available: {", ".join(COMMANDS)}', file=sys.stderr)
        return 2
    name = command.replace('-', '_') + '_' * keyword.iskeyword(command)
    module = importlib.import_module(f'seg_ros.commands.{name}')
    parser = argparse.ArgumentParser(
        prog=f'python -m seg_ros {command}',
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    # rclpy parses what follows --ros-args; argparse must not see it.
    ros_start = arguments.index(ROS_ARGS) if ROS_ARGS in arguments else len(arguments)
    logging.basicConfig(level=logging.INFO, format='%(levelname)s: %(message)s')
    try:
        # intermixed: settings (key=value) may stand on both sides of an option
        args = parser.parse_intermixed_args(arguments[:ros_start])
        args.ros_arguments = arguments[ros_start:]
        return int(module.run(args))
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        print(f'{command}: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f'  {name:<{width}}  {text}' for name, text in sorted(COMMANDS.items())]
    return '\n'.join(['usage: python -m seg_ros <command> [--help]', '', 'commands:', *lines])


def entry_point() -> None:
    """Start the command that the executable is named after (console scripts, ``ros2 run``)."""
    sys.exit(main(command=Path(sys.argv[0]).stem))
