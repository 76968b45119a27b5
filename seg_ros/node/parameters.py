"""From the one declaration of the settings to ROS parameters and back."""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
import typing
from array import array
from typing import TYPE_CHECKING, Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.parameter import Parameter

from seg_ros.node.parameter_sources import find_sources
from seg_ros.schema import Setting, check, convert, quoted, settings_of

Config = TypeVar('Config', bound='DataclassInstance')

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from _typeshed import DataclassInstance
    from rclpy.node import Node


# Parameters that rclpy declares by itself, and what the node tells of itself: a file that
# `ros2 param dump` made of the node holds them, too.
_FOREIGN = ('use_sim_time', 'start_type_description_service', 'qos_overrides.', 'in_use.')
IN_USE = ('device', 'backend', 'precision', 'model_name', 'model_sha256')
_TYPES = {bool: 'BOOL', int: 'INTEGER', float: 'DOUBLE', str: 'STRING'}
_EXPONENT = re.compile(r'[+-]?[0-9](\.[0-9]+)?e[+-][0-9]{1,3}')
_MAX_TEXT = 4096  # characters; as long as a path may be
_MAX_ENTRIES = 256
_MAX_REASON = 600  # characters


def declare_parameters(
    node: Node, defaults: Config, arguments: Sequence[str] | None = None
) -> Config:
    """Declare every setting and read what launch files and command line gave.

    Args:
        node: Owner of the parameters.
        defaults: Config with the values of those that nobody gave.
        arguments: What ``rclpy.init`` got; None: the process's own, as there.

    Raises:
        ValueError: For an unknown parameter, which rclpy itself would ignore, and for a wrong
            value.
    """
    settings = {setting.name: setting for setting in settings_of(defaults)}
    given = given_parameters(node)
    sources = find_sources(
        sys.argv if arguments is None else arguments, node.get_fully_qualified_name()
    )
    unknown = [name for name in given if name not in settings and not name.startswith(_FOREIGN)]
    if shared := [name for name in unknown if name in sources.shared - sources.own]:
        node.get_logger().warning(
            f'passed over, as a file for all nodes gives them and this one has none of them: '
            f'{quoted(shared)}'
        )
    for name in unknown:
        if name not in shared:
            raise ValueError(unknown_parameter(name, settings))
    values = {}
    for setting in settings.values():
        plain = Parameter(setting.name, value=_plain(getattr(defaults, setting.name)))
        parameter = typed(setting, given.get(setting.name, plain))
        _declare(node, setting, parameter)
        values[setting.name] = convert(setting, parameter.value)
    return dataclasses.replace(defaults, **values)


def given_parameters(node: Node) -> Mapping[str, Parameter]:
    """What was given to a node when it was started; rclpy offers no public view of it."""
    return node._parameter_overrides


def unknown_parameter(name: str, known: Iterable[str]) -> str:
    """Say that there is no such parameter, and which one may be meant."""
    near = difflib.get_close_matches(name[:_MAX_REASON], known, n=1)
    hint = f'did you mean {near[0]!r}?' if near else f'available: {", ".join(known)}'
    return f'unknown parameter {quoted(name)}; {hint}'


def typed(setting: Setting, parameter: Parameter) -> Parameter:
    """Bring a parameter to the type of its setting.

    YAML takes ``1`` for an integer, Python's ``1e-05`` for a text, and ``[]`` has no type: rclpy
    has None for it in a file, a list of bytes in Python and ``ros2 param set`` one of booleans.

    Raises:
        ValueError: If it is of another type, or too long.
    """
    value = list(parameter.value) if isinstance(parameter.value, array) else parameter.value
    is_list = typing.get_origin(setting.type) is tuple
    if is_list and value is None:
        value = []
    if setting.type is float and isinstance(value, str) and _EXPONENT.fullmatch(value):
        value = float(value)
    items = value if isinstance(value, list) else [value]
    if len(items) > _MAX_ENTRIES:
        raise ValueError(f'{setting.name}: {len(items)} entries; allowed are {_MAX_ENTRIES}')
    longest = max((len(item) for item in items if isinstance(item, str)), default=0)
    if longest > _MAX_TEXT:
        raise ValueError(f'{setting.name}: {longest} characters; allowed are {_MAX_TEXT}')
    if any(isinstance(item, str) and '\0' in item for item in items):
        raise ValueError(f'{setting.name}: {quoted(value)} has a character 0')
    try:
        converted = convert(setting, value)
        check(setting, converted)
    except ValueError as error:
        raise ValueError(f'{error} ({setting.doc})') from error
    item = typing.get_args(setting.type)[0] if is_list else setting.type
    kind = Parameter.Type[_TYPES[item] + ('_ARRAY' if is_list else '')]
    return Parameter(setting.name, kind, _plain(converted))


def changed_config(config: Config, parameters: list[Parameter], *, running: bool) -> Config:
    """Build the config that a change of parameters would lead to.

    Args:
        config: The present one.
        parameters: What is to be set; names that are no settings are left out.
        running: Whether only live settings may change.

    Raises:
        ValueError: With the reason to refuse the change.
    """
    settings = {setting.name: setting for setting in settings_of(config)}
    changes: dict[str, Any] = {}
    for parameter in parameters:
        if (setting := settings.get(parameter.name)) is None:
            continue
        value = convert(setting, typed(setting, parameter).value)
        if running and not setting.live and value != getattr(config, setting.name):
            live = ', '.join(name for name, entry in settings.items() if entry.live)
            raise ValueError(
                f'{setting.name} is read when the node is configured; clean the node up first. '
                f'Live are: {live}'
            )
        changes[setting.name] = value
    return dataclasses.replace(config, **changes)


def to_parameters(config: Any, values: Mapping[str, Any]) -> list[Parameter]:
    """Parameters that set some settings of a config to values; other names are left out."""
    return [
        typed(setting, Parameter(setting.name, value=_plain(values[setting.name])))
        for setting in settings_of(config)
        if setting.name in values
    ]


def reason_of(error: Exception) -> str:
    """Say in a line why something is refused; what is no message for users gets its type."""
    is_told = isinstance(error, (ValueError, FileNotFoundError)) and str(error)
    text = str(error) if is_told else f'{type(error).__name__}: {error}'
    return text if len(text) <= _MAX_REASON else f'{text[: _MAX_REASON - 4]} ...'


class InUseParameters:
    """Read-only parameters ``in_use.*``: what really runs, whatever was asked for.

    Args:
        node: Owner of the parameters.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        for name in IN_USE:
            descriptor = ParameterDescriptor(description=f'The {name} in use', read_only=True)
            node.declare_parameter(f'in_use.{name}', '', descriptor, ignore_override=True)

    def set(self, values: Mapping[str, str]) -> None:
        """Take the names in ``IN_USE``; those that are missing become empty."""
        for name in IN_USE:
            parameter = Parameter(f'in_use.{name}', value=values.get(name, ''))
            if parameter.value == self._node.get_parameter(parameter.name).value:
                continue
            # Read-only for the others; rclpy knows no parameter that only its node may set.
            descriptor = self._node.describe_parameter(parameter.name)
            descriptor.read_only = False
            self._node.set_parameters([parameter])
            descriptor.read_only = True


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _declare(node: Node, setting: Setting, parameter: Parameter) -> None:
    """Declare a parameter of the type of its setting, which no list without items would give."""
    is_empty = parameter.value == []
    item = typing.get_args(setting.type)[0]() if is_empty else None
    value = [item] if is_empty else parameter.value
    try:
        node.declare_parameter(setting.name, value, _descriptor(setting), ignore_override=True)
    except ParameterException as error:
        raise ValueError(f'{setting.name}: {error}') from error
    if is_empty:
        node.set_parameters([parameter])


def _descriptor(setting: Setting) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=setting.doc)
    if setting.choices:
        descriptor.additional_constraints = f'one of: {", ".join(map(str, setting.choices))}'
    if setting.bounds:
        low, high = setting.bounds
        if setting.type is float:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif int in (setting.type, *typing.get_args(setting.type)):
            whole = IntegerRange(from_value=int(low), to_value=int(high), step=1)
            descriptor.integer_range = [whole]
    return descriptor
