"""Where the parameters of a command line come from; rclpy tells only what they came to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SECTION = 'ros__parameters'
_WILDCARDS = {'**': '(/[^/]+)*', '*': '/[^/]+'}


@dataclass
class ParameterSources:
    """Names of parameters by whom they were given to.

    Attributes:
        own: Given to this node by its name, or by ``-p``.
        shared: Given to all nodes, or to all of a namespace, by a wildcard such as ``/**``.
    """

    own: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)


def find_sources(arguments: Sequence[str], node: str) -> ParameterSources:
    """Read the parameter files and the ``-p`` of a command line.

    Args:
        arguments: All of them, or those from ``--ros-args`` on.
        node: Full name of the node.

    Returns:
        What is given to this node. rcl has checked the files; one that cannot be read any more is
        passed over.
    """
    sources = ParameterSources()
    for option, value in _ros_options(arguments):
        if option in ('-p', '--param'):
            *of_node, name = value.partition(':=')[0].split(':')
            if not of_node or of_node[0].rpartition('/')[2] == node.rpartition('/')[2]:
                sources.own.add(name)
        elif option == '--params-file':
            for key, names in _sections(_content(value), ''):
                if _pattern(key).fullmatch(node):
                    is_shared = key.rpartition('/')[2] in _WILDCARDS
                    (sources.shared if is_shared else sources.own).update(names)
    return sources


def _ros_options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options that stand between ``--ros-args`` and ``--``, each with its value."""
    is_ros = False
    for option, value in zip(arguments, [*arguments[1:], ''], strict=True):
        is_ros = (is_ros or option == '--ros-args') and option != '--'
        if is_ros:
            yield option, value


def _content(path: str) -> Any:
    try:
        return yaml.safe_load(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None


def _sections(content: Any, above: str) -> Iterator[tuple[str, set[str]]]:
    """Node names or patterns, each with the parameters under it."""
    if not isinstance(content, dict):
        return
    for key, section in content.items():
        name = f'{above}/{str(key).strip("/")}'
        if key == _SECTION:
            yield above, set(_flat(section))
        else:
            yield from _sections(section, name)


def _flat(section: Mapping[str, Any] | Any, above: str = '') -> Iterator[str]:
    """Names of parameters, nested ones joined by dots."""
    if not isinstance(section, dict):
        return
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _flat(value, f'{above}{key}.')
        else:
            yield f'{above}{key}'


def _pattern(key: str) -> re.Pattern[str]:
    """Of full node names: ``/**`` stands for any namespaces, ``/*`` for one."""
    parts = key.strip('/').split('/')
    return re.compile(''.join(_WILDCARDS.get(part, f'/{re.escape(part)}') for part in parts))
