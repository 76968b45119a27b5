"""What measured times are worth nothing without: the machine and the versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

_PACKAGES = ('numpy', 'opencv-python-headless', 'openvino', 'onnxruntime', 'torch')


def describe_machine() -> dict[str, Any]:
    """Name processor, system and the versions of what computes; no host or user name."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        'processor': _processor(),
        'cores': len(os.sched_getaffinity(0)),
        'system': f'{platform.system()} {platform.machine()}',
        'python': platform.python_version(),
        'packages': versions,
    }


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return platform.processor()
    named = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return named[0] if named else platform.processor()
