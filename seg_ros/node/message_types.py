"""Message classes by the name of their type; what a stranger's recording names runs no code."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path

# Of a package of interfaces under the prefix that it is installed in.
_MARKER = Path('share', 'ament_index', 'resource_index', 'rosidl_interfaces')
_TYPE_NAME = re.compile(r'([a-z][a-z0-9_]*)/(?:msg/)?([A-Za-z][A-Za-z0-9_]*)')


def message_class(name: str) -> type:
    """Import the class of ``package/msg/Name`` or ``package/Name``.

    Imported is what is loaded already, or a package of interfaces that is registered with ament
    and lies where it is registered: of a distribution, of a sourced workspace, or of the ROS
    wheels. Another Python package of that name, as one in the current folder, is not.

    Raises:
        ValueError: If there is no such message type.
    """
    match = _TYPE_NAME.fullmatch(name)
    if match is None:
        raise ValueError(f'{name!r} is no message type; it looks like sensor_msgs/msg/Image')
    package, kind = match.groups()
    module = f'{package}.msg'
    if module not in sys.modules and not _is_registered(package):
        raise ValueError(f'message type {name} is not installed: no package {package} with ament')
    try:
        found = getattr(importlib.import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise ValueError(f'message type {name} is not installed: {error}') from error
    if not isinstance(found, type) or not hasattr(found, '_TYPE_SUPPORT'):
        raise ValueError(f'{name} is no message type')
    return found


def _is_registered(package: str) -> bool:
    """Whether ament knows the package and Python would import the one that ament knows."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return False
    sourced = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    prefixes = [Path(prefix) for prefix in (*sourced, sys.prefix) if prefix]
    origin = Path(spec.origin)
    return any(
        (prefix / _MARKER / package).is_file()
        and (origin.is_relative_to(prefix) or origin.resolve().is_relative_to(prefix.resolve()))
        for prefix in prefixes
    )
