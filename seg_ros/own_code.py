"""Classes by name: those of the package, and a user's own as ``my_module:MyClass``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TRUST_VARIABLE = 'SEG_ROS_OWN_CODE'


def demand_trust(name: str, source: str) -> None:
    """Refuse to start code that only a file names, as a model of somebody else could.

    What this process has imported already, as the user named it, is taken.

    Raises:
        ValueError: If the name is ``module:Class`` and the user did not allow it.
    """
    module, colon, _ = name.partition(':')
    if colon and module not in sys.modules and os.environ.get(TRUST_VARIABLE) != '1':
        raise ValueError(
            f'{source} names the code {name!r}, which is not started unasked. If you trust it: '
            f'{TRUST_VARIABLE}=1 in the environment. OpenVINO and ONNX Runtime need no such code'
        )


def class_by_name(kind: str, name: str, known: Mapping[str, str]) -> Any:
    """Import the class that a name stands for.

    Args:
        kind: What it is, for messages: ``net`` or ``dataset``.
        name: Key of ``known``, or ``module:Class`` of a module that can be imported or lies in
            the current folder.
        known: Name -> ``module:Class``.

    Raises:
        ValueError: If the name is unknown, or the module or its class is not there.
    """
    if name not in known and ':' not in name:
        raise ValueError(
            f'unknown {kind} {name!r}; available: {", ".join(sorted(known))}, or a class of your '
            'own as my_module:MyClass'
        )
    module_name, _, attribute = known.get(name, name).partition(':')
    if name in known:
        return getattr(importlib.import_module(module_name), attribute)
    try:
        module = _import_own(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name.partition('.')[0] and error.name != module_name:
            raise ValueError(
                f'{kind} {name!r}: {module_name} imports {error.name!r}, which is not installed'
            ) from error
        raise ValueError(
            f'{kind} {name!r}: there is no module {module_name!r} in {Path.cwd()} or among the '
            'installed ones; run the command where it lies, or add its folder to PYTHONPATH'
        ) from error
    except (TypeError, ValueError) as error:  # an empty or a relative name
        raise ValueError(f'{kind} {name!r}: write it as my_module:MyClass') from error
    found = getattr(module, attribute, None)
    if not isinstance(found, type):
        classes = sorted(
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__
        )
        raise ValueError(
            f'{kind} {name!r}: {module.__file__} has no class {attribute!r}; it has '
            f'{", ".join(classes) or "none"}'
        )
    return found


def _import_own(name: str) -> Any:
    """Import a module; the current folder comes last, so that nothing installed is hidden."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    importlib.invalidate_caches()
    return importlib.import_module(name)
