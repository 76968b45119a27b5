"""The folder of a run: what was asked for, on what, with what, and what came of it."""

from __future__ import annotations

import fcntl
import itertools
import json
import logging
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from seg_ros import __version__
from seg_ros.result_files import write_atomically
from seg_ros.training.checkpoint import FOLDER, LAST, PREVIOUS
from seg_ros.training.config import TrainConfig
from seg_ros.training.recipes import save_train_config

LOG = logging.getLogger(__name__)
CONFIG_FILE, SPLITS_FILE = 'config.yaml', 'splits.json'
PROVENANCE_FILE, CHECK_FILE, HISTORY_FILE = 'provenance.json', 'data_check.json', 'history.json'
_LIBRARIES = ('torch', 'torchvision', 'numpy', 'opencv-python-headless', 'safetensors')


def new_run_folder(name: str, root: Path = Path('runs')) -> Path:
    """Make the empty folder of a new run, named after the model and the time."""
    stem = f'{name}-{time.strftime("%Y%m%d-%H%M%S")}'
    for number in itertools.count(1):
        folder = root / (stem if number == 1 else f'{stem}_{number}')
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other trainings out of a run folder; however the process ends, it is free again.

    Raises:
        FileExistsError: If another training is under way in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FileExistsError(
            f'another training is under way in {folder}; wait for its end or choose another folder'
        ) from error
    except OSError as error:  # a network file system without locks
        LOG.warning('%s cannot be locked against other trainings: %s', folder, error)


def has_checkpoint(folder: Path) -> bool:
    """Whether a run came as far as a checkpoint that it can go on from."""
    return any((folder / FOLDER / f'{name}.json').is_file() for name in (LAST, PREVIOUS))


def begin_run(folder: Path, config: TrainConfig, images: Mapping[str, int]) -> dict[str, Any]:
    """Create the folder of a run with its configuration and provenance.

    Args:
        folder: The run folder.
        config: What was asked for.
        images: Number of images by split.

    Returns:
        What the model card will say of the origin; it names no path of this machine.

    Raises:
        FileExistsError: If the folder holds a run with a checkpoint.
    """
    if has_checkpoint(folder):
        raise FileExistsError(
            f'{folder} holds a run already; go on with --resume {folder} or choose another folder'
        )
    folder.mkdir(parents=True, exist_ok=True)
    for unfinished in (folder / FOLDER).glob('*'):  # of a run that was killed in its first save
        unfinished.unlink()
    provenance = {
        'seg_ros': __version__,
        'commit': _git_state(),
        'date': time.strftime('%Y-%m-%d'),
        'recipe': config.recipe,
        'dataset': config.dataset,
        'images': dict(images),
        **_extra_data(config),
        'encoder_weights': Path(config.encoder_weights).name,
        **_teacher(config),
        'seed': config.seed,
        'libraries': {name: _version(name) for name in _LIBRARIES} | {'python': _python()},
    }
    if config.license:
        provenance['license'] = config.license
    save_train_config(config, folder / CONFIG_FILE)
    here = {'machine': platform.machine(), 'command': [Path(sys.argv[0]).name, *sys.argv[1:]]}
    write_json(folder / PROVENANCE_FILE, provenance | here)
    return provenance


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step; what is not a number becomes null."""
    write_atomically(path, json.dumps(plain(value), indent=1).encode())


def plain(value: Any) -> Any:
    """Values that JSON knows: NaN and infinities become None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _extra_data(config: TrainConfig) -> dict[str, Any]:
    if not config.extra_data:
        return {}
    listed = [
        {'dataset': extra.dataset, 'data': Path(extra.data).name, 'repeat': extra.repeat}
        for extra in config.extra_data
    ]
    return {'extra_data': listed}


def _teacher(config: TrainConfig) -> dict[str, Any]:
    options = config.distillation
    if not options.teacher:
        return {}
    named = {'weight': options.weight, 'temperature': options.temperature}
    return {'teacher': {'model': Path(options.teacher).name, **named}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return 'not installed'


def _python() -> str:
    return platform.python_version()


def _git_state() -> str:
    """Commit of the checkout that the package runs from, with + where it was changed."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(  # noqa: S603
            ['git', '-C', str(here), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return done.stdout.strip()

    try:
        changed = git('status', '--porcelain', '--untracked-files=no')
        return git('rev-parse', 'HEAD') + ('+' if changed else '')
    except (OSError, subprocess.SubprocessError):
        return 'no checkout'
