"""A training that is killed again and again loses no epoch that it had saved."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from seg_ros.training.checkpoint import FOLDER, load_checkpoint
from test.training.conftest import ROOT, command, environment, write_folder

_DEADLINE_S = 120.0
_EARLY_SHARE = 0.2  # of the kills fall before the first epoch after a start
_STARTED_WITHIN_S = 5.0


def kill_training(folder: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """Start a run, kill it at random moments, resume it after each kill, and look at it.

    Returns:
        ``kills``, ``unreadable`` and ``lost`` (checkpoints that went back, or from which more
        than the epoch in work was missing), ``epochs`` reached.
    """
    data = write_folder(folder / 'scenes')
    run = folder / 'run'
    first = ['train', '--run-folder', run, 'name=killed', 'net=tiny_net', f'data={data}']
    first += ['height_px=32', 'width_px=48', 'model_dir=', 'device=cpu']
    first += ['stages=[{epochs: 100000, batch_size: 1}]', '--quiet']
    chance = random.Random(seed)  # noqa: S311 - moments, no secrets
    found: dict[str, Any] = {'kills': 0, 'unreadable': 0, 'lost': 0, 'epochs': 0}
    for _ in range(kills):
        started = run / FOLDER / 'last.json'
        arguments = ['train', '--quiet', '--resume', run] if started.is_file() else first
        process = subprocess.Popen(
            command(*arguments),
            env=environment(PYTHONPATH=str(ROOT)),
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            if started.is_file() and chance.random() < _EARLY_SHARE:
                time.sleep(chance.uniform(0, _STARTED_WITHIN_S))  # importing, resuming
            else:
                _wait_for_progress(run, process, found['epochs'])
                time.sleep(chance.uniform(0, 0.5))
            seen = _epoch(run)  # of a checkpoint that was whole just before
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        found['kills'] += 1
        try:
            checkpoint = load_checkpoint(run)
            for kind in ('weights', 'state'):
                checkpoint.load_tensors(kind)
        except Exception:
            found['unreadable'] += 1
            continue
        epoch = checkpoint.progress['epoch']
        found['lost'] += epoch < seen or len(checkpoint.progress['history']) < epoch
        found['epochs'] = epoch
    return found


def _epoch(run: Path) -> int:
    path = run / FOLDER / 'last.json'
    if not path.is_file():
        return -1
    return int(json.loads(path.read_text(encoding='utf-8'))['progress']['epoch'])


def _wait_for_progress(run: Path, process: subprocess.Popen[bytes], epoch: int) -> None:
    """Until the run has saved an epoch beyond the given one."""
    deadline = time.monotonic() + _DEADLINE_S
    while _epoch(run) <= epoch:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f'training made no progress; exit status {process.poll()}')
        time.sleep(0.005)
