"""More epochs for a run that is finished."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seg_ros.result_files import write_atomically
from seg_ros.training.checkpoint import FOLDER, LAST, load_checkpoint
from seg_ros.training.config import TrainConfig
from seg_ros.training.recipes import load_train_config, parse, save_train_config
from seg_ros.training.run_folder import CONFIG_FILE

_ALLOWED = ('epochs', 'lr', 'batch_size')


def extend(run: Path, overrides: Sequence[str]) -> None:
    """Add a stage to a finished run, which then goes on as a resumed one.

    The stage is the last one again, with a schedule of its own from its peak. What ended the run
    early (``max_steps``, ``target_score``, ``time_budget_min``) no longer counts.

    Args:
        run: The run folder.
        overrides: ``epochs=+50``, and for the new stage ``lr=`` and ``batch_size=``.

    Raises:
        FileNotFoundError: If it is no run.
        ValueError: If it is not finished or the settings are others.
    """
    config = load_train_config(run / CONFIG_FILE)
    progress = load_checkpoint(run).progress
    if not progress['finished']:
        raise ValueError(f'{run} is not finished; go on with --resume {run}')
    settings = dict(map(parse, overrides))
    wished = dict(override.partition('=')[::2] for override in overrides)
    if not wished.get('epochs', '').startswith('+') or settings.keys() - set(_ALLOWED):
        raise ValueError(
            '--extend takes epochs=+50 for 50 more, and lr= and batch_size= for them; got '
            f'{" ".join(overrides) or "nothing"}'
        )
    save_train_config(_extended(config, progress, settings), run / CONFIG_FILE)
    _reopen(run / FOLDER / f'{LAST}.json')


def _extended(
    config: TrainConfig, progress: dict[str, Any], settings: dict[str, Any]
) -> TrainConfig:
    done = list(config.stages[: progress['stage'] + 1])
    # As long as it really was, or the stages before the new one would be trained first.
    done[-1] = replace(done[-1], epochs=max(1, progress['stage_epoch']))
    last = config.stages[-1]
    more = replace(
        last,
        epochs=settings['epochs'],
        learning_rate=float(settings.get('lr', last.learning_rate)),
        batch_size=settings.get('batch_size', last.batch_size),
    )
    return replace(
        config, stages=(*done, more), max_steps=0, target_score=0.0, time_budget_min=0.0
    )


def _reopen(description: Path) -> None:
    raw = json.loads(description.read_text(encoding='utf-8'))
    raw['progress']['finished'] = False
    write_atomically(description, json.dumps(raw, indent=1).encode())
