"""What every result is kept with, and the file that it is kept in."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from seg_ros.evaluation.machine import describe_machine

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / 'bench' / 'results'

_PACKAGES = ('nncf', 'ros-rclpy', 'ros-fastdds', 'segmentation-models-pytorch', 'torchvision')
# What decides the speed of bf16 and int8 on x86, and on Arm.
_INSTRUCTIONS = ('avx2', 'avx512f', 'avx512_vnni', 'avx_vnni', 'avx512_bf16', 'amx_bf16')
_INSTRUCTIONS += ('amx_int8', 'asimddp', 'bf16', 'i8mm')
_BUSY_LOAD_PER_CORE = 0.25


@dataclass
class Record:
    """The conditions of a measurement, taken when it starts.

    Attributes:
        name: Name of the result file.
        quick: Whether it is the short version.
        conditions: Machine, versions, load average, commit.
    """

    name: str
    quick: bool
    conditions: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self._started = time.monotonic()
        load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
        machine = describe_machine()
        machine['packages'] |= _versions()
        self.conditions = {
            'machine': machine,
            'instructions': _instructions(),
            'load_average_before': round(load, 2),
            'commit': _commit(),
            'date': datetime.now(timezone.utc).strftime('%Y-%m-%d'),
            'quick': self.quick,
        }
        print(f'{self.name}: {cores} cores of {machine["processor"]}, load average {load:.2f}')
        if load > _BUSY_LOAD_PER_CORE * cores:
            print('  this machine is busy: times are no use, only ratios of one run are')

    def progress(self, text: str) -> None:
        """Print a line with the time since the start."""
        print(f'[{time.monotonic() - self._started:6.1f} s] {text}', flush=True)

    def write(self, results: dict[str, Any], folder: Path = RESULTS) -> Path:
        """Write conditions and results to ``<folder>/<name>.json``."""
        seconds = round(time.monotonic() - self._started, 1)
        path = folder / f'{self.name}.json'
        folder.mkdir(parents=True, exist_ok=True)
        content = {'conditions': self.conditions, 'took_s': seconds, **_rounded(results)}
        path.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        self.progress(f'{self.name} is done: {shown}')
        return path


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what every measurement takes."""
    parser.add_argument('--quick', action='store_true', help='fewer and shorter rounds')
    parser.add_argument(
        '--results', type=Path, default=RESULTS, metavar='FOLDER', help='where the JSON goes'
    )


def percentiles(values_ms: list[float]) -> dict[str, float]:
    """p50, p95, p99, the largest and the number of values; empty without any."""
    if not values_ms:
        return {'samples': 0}
    p50, p95, p99 = np.percentile(values_ms, (50, 95, 99))
    return {
        'p50_ms': float(p50),
        'p95_ms': float(p95),
        'p99_ms': float(p99),
        'max_ms': max(values_ms),
        'samples': len(values_ms),
    }


def _rounded(value: Any) -> Any:
    """Four significant digits are more than a clock of a shared machine is good for."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return float(f'{value:.4g}') if isinstance(value, float) else value


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _instructions() -> list[str]:
    try:
        text = Path('/proc/cpuinfo').read_text(encoding='utf-8')
    except OSError:
        return []
    present = set(text.split())
    return [name for name in _INSTRUCTIONS if name in present]


def _commit() -> str:
    """Commit of the checkout, with a mark where files differ from it."""
    command = ['git', '-C', str(ROOT), 'describe', '--always', '--abbrev=12', '--dirty']
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'
    return done.stdout.strip()
