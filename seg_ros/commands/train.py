"""Train a net on labelled images and write the model folder that the node runs.

python -m seg_ros train --config linknet_camvid data=<folder> epochs=100
python -m seg_ros train --resume runs/<run>
python -m seg_ros train --extend runs/<run> epochs=+50
torchrun --nproc-per-node 4 -m seg_ros train --config linknet_camvid data=<folder>
"""

from __future__ import annotations

import argparse
import shlex
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seg_ros.training.preparation import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('--config', metavar='RECIPE', help='YAML file, or a recipe of the package')
    parser.add_argument(
        '--run-folder', type=Path, help='run folder; runs/<name>-<time> if omitted'
    )
    parser.add_argument(
        '--resume', type=Path, help='run folder, or a checkpoint in it, to go on with'
    )
    parser.add_argument(
        '--extend', type=Path, help='finished run to train longer, with epochs=+50'
    )
    parser.add_argument('--quiet', action='store_true', help='no progress bar, no TensorBoard')
    parser.add_argument(
        'overrides',
        nargs='*',
        metavar='key=value',
        help='settings, such as optimizer.name=sgd; epochs=, batch_size=, lr=, size=480x640',
    )


def run(args: argparse.Namespace) -> int:
    """Train; 0 when done or interrupted in good order, 1 when a checkpoint failed."""
    from seg_ros.training.checkpoint import CheckpointError

    try:
        if args.extend is not None:
            if args.config or args.resume or args.run_folder:
                raise ValueError('--extend takes epochs=+50, lr= and batch_size= only')
            return _resume(args.extend, args)
        if args.resume is None:
            return _begin(args)
        if args.config or args.overrides or args.run_folder:
            raise ValueError('--resume goes on as the run began; give no other settings')
        return _resume(args.resume, args)
    except CheckpointError as error:
        print(f'train: {error}', file=sys.stderr)
        return 1


def _begin(args: argparse.Namespace) -> int:
    from seg_ros.training.distributed import from_first, process_group, rank
    from seg_ros.training.loop import train
    from seg_ros.training.preparation import pick_device
    from seg_ros.training.recipes import load_train_config, recipe_path, with_absolute_paths
    from seg_ros.training.run_folder import locked, new_run_folder

    path = recipe_path(args.config) if args.config else None
    config = with_absolute_paths(load_train_config(path, args.overrides))
    with ExitStack() as held:
        with process_group(pick_device(config.device).type):
            first, folder = rank() == 0, args.run_folder
            if first:
                folder = folder or new_run_folder(config.name)
                held.callback(_remove_if_empty, folder)
                held.enter_context(locked(folder))
            done = train(config, from_first(folder), quiet=args.quiet)
        return _conclude(done) if first else 0


def _resume(source: Path, args: argparse.Namespace) -> int:
    from seg_ros.training.checkpoint import load_checkpoint
    from seg_ros.training.distributed import process_group, rank, wait_for_all
    from seg_ros.training.extension import extend
    from seg_ros.training.loop import train
    from seg_ros.training.preparation import pick_device
    from seg_ros.training.recipes import load_train_config
    from seg_ros.training.run_folder import CONFIG_FILE, has_checkpoint, locked

    folder = source if source.is_dir() else source.parent.parent
    if not (folder / CONFIG_FILE).is_file():
        raise FileNotFoundError(f'{source} is no run: there is no {folder / CONFIG_FILE}')
    device = load_train_config(folder / CONFIG_FILE).device
    with ExitStack() as held:
        with process_group(pick_device(device).type):
            first = rank() == 0
            if first:
                held.enter_context(locked(folder))
                if args.extend is not None:
                    extend(folder, args.overrides)
            wait_for_all()
            config = load_train_config(folder / CONFIG_FILE)
            # A run that was killed before its first checkpoint begins again.
            begun = has_checkpoint(folder) or source != folder
            resume = load_checkpoint(source) if begun else None
            done = train(config, folder, resume=resume, quiet=args.quiet)
        return _conclude(done) if first else 0


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _conclude(done: Run) -> int:
    """Report and model folder of a finished run; in the first process, the others are gone."""
    from seg_ros.training.outcome import conclude

    if done.progress.finished:
        conclude(done)
    else:
        print(f'stopped after step {done.progress.step}; go on with:')
        print(f'  python -m seg_ros train --resume {shlex.quote(str(done.folder))}')
    return 0
