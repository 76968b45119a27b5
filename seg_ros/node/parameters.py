"""From the one declaration of the settings to ROS parameters and back."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from array import array
from typing import TYPE_CHECKING, Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.parameter import Parameter

from seg_ros.schema import Setting, convert, settings_of

Config = TypeVar('Config', bound='DataclassInstance')

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import DataclassInstance
    from rclpy.node import Node


# Parameters that rclpy declares by itself.
_FOREIGN = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')
IN_USE = ('device', 'backend', 'precision', 'model_name', 'model_sha256')


def declare_parameters(node: Node, defaults: Config) -> Config:
    """Declare every setting and read what launch files and command line gave.

    Raises:
        ValueError: For an unknown parameter, which rclpy itself would ignore, and for a wrong
            value.
    """
    settings = {setting.name: setting for setting in settings_of(defaults)}
    # rclpy offers no public view of overrides that nobody declared.
    for name in node._parameter_overrides:
        if name not in settings and not name.startswith(_FOREIGN):
            near = difflib.get_close_matches(name, settings, n=1)
            hint = f'did you mean {near[0]!r}?' if near else f'available: {", ".join(settings)}'
            raise ValueError(f'unknown parameter {name!r}; {hint}')
    values = {}
    for setting in settings.values():
        default = getattr(defaults, setting.name)
        value = list(default) if isinstance(default, tuple) else default
        try:
            parameter = node.declare_parameter(setting.name, value, _descriptor(setting))
        except ParameterException as error:  # out of range or of another type
            raise ValueError(f'{setting.name}: {error}') from error
        values[setting.name] = convert(setting, _plain(setting, parameter))
    return dataclasses.replace(defaults, **values)


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
        value = convert(setting, _plain(setting, parameter))
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
    names = {setting.name for setting in settings_of(config)} & values.keys()
    plain = {n: list(v) if isinstance(v := values[n], tuple) else v for n in names}
    return [Parameter(name, value=value) for name, value in plain.items()]


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


def _plain(setting: Setting, parameter: Parameter) -> Any:
    """The value of a parameter; an empty list of YAML has no type and comes as None."""
    if typing.get_origin(setting.type) is not tuple:
        return parameter.value
    if parameter.value is None:
        return ()
    return list(parameter.value) if isinstance(parameter.value, array) else parameter.value


def _descriptor(setting: Setting) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=setting.doc)
    if setting.choices:
        descriptor.additional_constraints = f'one of: {", ".join(map(str, setting.choices))}'
    if setting.type is float or typing.get_origin(setting.type) is tuple:
        # An integer given for a double (`min_confidence:=1`) would be refused by its type, and an
        # empty list has none.
        descriptor.dynamic_typing = True
    if setting.bounds:
        low, high = setting.bounds
        if setting.type is float:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif int in (setting.type, *typing.get_args(setting.type)):
            whole = IntegerRange(from_value=int(low), to_value=int(high), step=1)
            descriptor.integer_range = [whole]
    return descriptor
