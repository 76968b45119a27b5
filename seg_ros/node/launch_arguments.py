"""The arguments of the node's launch files; every parameter of the node is one. No launch here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import yaml

from seg_ros.node.config import NodeConfig
from seg_ros.schema import Setting, convert, settings_of

FROM_FILE = ''  # an argument left at this value keeps what params_file says
BOOLEAN = ('true', 'false')
# camera:=<package> -> its executable; both publish image_raw and camera_info
CAMERA_DRIVERS = {'usb_cam': 'usb_cam_node_exe', 'v4l2_camera': 'v4l2_camera_node'}


@dataclass(frozen=True)
class Argument:
    """One launch argument; ``choices`` is empty where anything may be given."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()


def launch_arguments(params_file: str, models: tuple[str, ...]) -> tuple[Argument, ...]:
    """List the arguments of a launch file.

    Args:
        params_file: Default of the argument of that name.
        models: Shipped models that suit the launch file, for the description.
    """
    chosen = f'{", ".join(models)}, or the path of a model folder'
    parameters = [
        replace(argument, description=f'{argument.description}: {chosen}')
        if argument.name == 'model'
        else argument
        for argument in map(_of_parameter, settings_of(NodeConfig))
    ]
    return (
        Argument('params_file', params_file, 'Parameters; what is given beside it goes first'),
        *parameters,
        Argument('namespace', '', 'Namespace of the node and its topics'),
        Argument('use_sim_time', 'false', 'Take the time from /clock', BOOLEAN),
        Argument(
            'camera',
            '',
            'Driver to start, which must be installed; it publishes the first image topic',
            ('', *CAMERA_DRIVERS),
        ),
        Argument(
            'bag',
            '',
            'rosbag2 to play, with use_sim_time /clock too; without image_topics its only image '
            'is taken',
        ),
        Argument('loop', 'false', 'Play the bag again and again', BOOLEAN),
        Argument('rviz', 'false', 'Start RViz with image, overlay and label colours', BOOLEAN),
        Argument('respawn', 'true', 'Start the node again if it dies', BOOLEAN),
        Argument(
            'log_level',
            'info',
            'Lowest level that is logged',
            ('debug', 'info', 'warn', 'error', 'fatal'),
        ),
    )


def given_parameters(values: dict[str, str]) -> dict[str, Any]:
    """Turn what was given to a launch file into parameters of the node.

    Args:
        values: Argument -> text; those that are no parameter or were left out are passed over.

    Raises:
        ValueError: If a value does not suit its parameter.
    """
    given = {
        setting.name: _value(setting, text)
        for setting in settings_of(NodeConfig)
        if (text := values.get(setting.name, FROM_FILE)) != FROM_FILE
    }
    NodeConfig(**given)  # refuses what the node would refuse
    return {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}


def _of_parameter(setting: Setting) -> Argument:
    if setting.type is bool:
        choices: tuple[str, ...] = (FROM_FILE, *BOOLEAN)
    elif setting.type is str and setting.choices:
        choices = tuple(dict.fromkeys((FROM_FILE, *setting.choices)))
    else:
        choices = ()
    allowed = f' ({setting.bounds[0]} to {setting.bounds[1]})' if setting.bounds else ''
    return Argument(setting.name, FROM_FILE, f'{setting.doc}{allowed}', choices)


def _value(setting: Setting, text: str) -> Any:
    if setting.type is str:
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f'{setting.name}: {text!r} is no YAML: {error}') from error
    if setting.default and isinstance(setting.default, tuple) and isinstance(value, str):
        value = [value]  # one topic is a list of one
    return convert(setting, value)
