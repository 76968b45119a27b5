"""Settings declared once: type, default, meaning, bounds and choices on one line.

A frozen dataclass whose fields are made by ``param`` is the whole declaration; the ROS parameters,
the tables of the README, the checks of ``ros2 param set`` and of the files in ``config/`` derive
from it::

    @dataclass(frozen=True)
    class NodeConfig:
        min_confidence: float = param(
            0.0, 'Pixels below become void', bounds=(0.0, 1.0), live=True
        )

        def __post_init__(self) -> None:
            validate(self)
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

Config = TypeVar('Config')

_KEY = 'seg_ros.param'
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlist = _SHORT.maxtuple = 8


@dataclass(frozen=True)
class Setting:
    """One declared field.

    Attributes:
        name: Field name.
        type: Python type; ``tuple[str, ...]`` for lists.
        default: Value when nothing is given; ``dataclasses.MISSING`` when one must be given.
        doc: One line for people.
        bounds: Smallest and largest allowed number, both included.
        choices: The allowed values, where they can be listed.
        live: Whether a running node takes a new value without a restart.
    """

    name: str
    type: Any
    default: Any
    doc: str
    bounds: tuple[float, float] | None
    choices: tuple[Any, ...] | None
    live: bool


def param(
    default: Any = dataclasses.MISSING,
    doc: str = '',
    *,
    bounds: tuple[float, float] | None = None,
    choices: Iterable[Any] | None = None,
    live: bool = False,
) -> Any:
    """Declare a field; see ``Setting`` for the arguments."""
    extras = (doc, bounds, tuple(choices) if choices is not None else None, live)
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata={_KEY: extras})
    return dataclasses.field(default=default, metadata={_KEY: extras})


def settings_of(config: Any) -> tuple[Setting, ...]:
    """List the settings of a config class or instance, in the order of their declaration."""
    cls = config if isinstance(config, type) else type(config)
    hints = typing.get_type_hints(cls)
    found = []
    for entry in dataclasses.fields(cls):
        doc, bounds, choices, live = entry.metadata.get(_KEY, ('', None, None, False))
        default = entry.default
        if entry.default_factory is not dataclasses.MISSING:
            default = entry.default_factory()
        found.append(Setting(entry.name, hints[entry.name], default, doc, bounds, choices, live))
    return tuple(found)


def validate(config: Any) -> None:
    """Check every field of a config against its declaration.

    Raises:
        ValueError: Naming field, value, and what is allowed.
    """
    for setting in settings_of(config):
        check(setting, getattr(config, setting.name))


def from_mapping(cls: type[Config], mapping: Mapping[str, Any]) -> Config:
    """Build a config from plain values such as a YAML file gives.

    Integers are taken for floats and lists for tuples; nested mappings become nested configs.

    Raises:
        ValueError: For an unknown key (with the nearest known one), a wrong type, a value out of
            bounds or a missing setting.
    """
    if not isinstance(mapping, Mapping):
        raise ValueError(f'{cls.__name__}: expected a mapping, got {quoted(mapping)}')
    settings = {setting.name: setting for setting in settings_of(cls)}
    for key in mapping:
        if key not in settings:
            near = difflib.get_close_matches(str(key), settings, n=1)
            hint = f'did you mean {near[0]!r}?' if near else f'available: {", ".join(settings)}'
            raise ValueError(f'unknown setting {quoted(key)}; {hint}')
    missing = [
        name
        for name, setting in settings.items()
        if setting.default is dataclasses.MISSING and name not in mapping
    ]
    if missing:
        raise ValueError(f'{cls.__name__}: missing {", ".join(missing)}')
    return cls(**{k: _convert(settings[k].type, v, k) for k, v in mapping.items()})


def to_mapping(config: Any) -> dict[str, Any]:
    """Turn a config into plain values (tuples become lists), the inverse of ``from_mapping``."""
    return {
        entry.name: _plain(getattr(config, entry.name)) for entry in dataclasses.fields(config)
    }


def convert(setting: Setting, value: Any) -> Any:
    """Bring a plain value to the type of a setting (int to float, list to tuple).

    Raises:
        ValueError: If the value is of another type.
    """
    return _convert(setting.type, value, setting.name)


def check(setting: Setting, value: Any) -> None:
    """Check a converted value against the declaration of its setting.

    Raises:
        ValueError: Naming setting, value, and what is allowed.
    """
    if not _fits(setting.type, value):
        raise ValueError(
            f'{setting.name}: expected {type_name(setting.type)}, got {quoted(value)}'
        )
    if value is None:
        return
    items = value if isinstance(value, tuple) else (value,)
    if setting.choices is not None:
        for item in items:
            if item not in setting.choices:
                allowed = ', '.join(map(str, setting.choices))
                raise ValueError(
                    f'{setting.name}: {quoted(item)} is unknown; available: {allowed}'
                )
    if any(isinstance(item, float) and math.isnan(item) for item in items):
        raise ValueError(f'{setting.name}: {quoted(value)} is not a number')
    if setting.bounds is not None:
        low, high = setting.bounds
        for item in items:
            if isinstance(item, (int, float)) and not low <= item <= high:
                raise ValueError(f'{setting.name}: {item} is outside {low} to {high}')


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_mapping(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _convert(kind: Any, value: Any, name: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        options = [option for option in args if option is not type(None)]
        for option in options[:-1]:
            if _fits(option, value):
                return _convert(option, value, name)
        return _convert(options[-1], value, name)
    if origin is tuple:
        return _convert_tuple(args, value, name)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if isinstance(value, kind):
            return value
        try:
            return from_mapping(kind, value)
        except ValueError as error:
            raise ValueError(f'{name}: {error}') from error
    if origin is dict and isinstance(value, Mapping):
        return {key: _convert(args[1], item, f'{name}.{key}') for key, item in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _convert_tuple(args: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f'{name}: expected a list, got {quoted(value)}')
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_convert(args[0], item, f'{name}[{i}]') for i, item in enumerate(value))
    if len(value) != len(args):
        raise ValueError(f'{name}: expected {len(args)} values, got {quoted(value)}')
    return tuple(_convert(arg, item, name) for arg, item in zip(args, value, strict=True))


def _fits(kind: Any, value: Any) -> bool:
    origin = typing.get_origin(kind)
    if kind is Any:
        return True
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(option, value) for option in typing.get_args(kind))
    if origin is tuple and isinstance(value, tuple):
        args = typing.get_args(kind)
        kinds = (args[0],) * len(value) if args[1:] == (Ellipsis,) else args
        return len(kinds) == len(value) and all(map(_fits, kinds, value))
    return isinstance(value, origin or kind)


def quoted(value: Any) -> str:
    """Show what was got in a message: as ``repr`` does, but never longer than a line."""
    return _SHORT.repr(value)


def type_name(kind: Any) -> str:
    """Name a type for people: ``float``, ``list of str``, ``int or none``."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return f'list of {type_name(args[0])}'
    if origin in (typing.Union, types.UnionType):
        return ' or '.join('none' if arg is type(None) else type_name(arg) for arg in args)
    if origin is dict:
        return 'mapping'
    return getattr(kind, '__name__', str(kind))
