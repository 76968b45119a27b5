"""Train a net on labelled images and write the model folder that the node runs.

python -m seg_ros train --config linknet_camvid data=<folder> stages.0.epochs=100
python -m seg_ros train --resume runs/<run>
torchrun --nproc-per-node 4 -m seg_ros train --config linknet_camvid data=<folder>
"""

from __future__ import annotations

import argparse
import sys
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
    parser.add_argument('--quiet', action='store_true', help='no progress bar, no TensorBoard')
    parser.add_argument(
        'overrides', nargs='*', metavar='key=value', help='settings, such as stages.0.epochs=2'
    )


def run(args: argparse.Namespace) -> int:
    """Train; 0 when done or interrupted in good order, 1 when a checkpoint failed."""
    from seg_ros.training.checkpoint import FOLDER, CheckpointError, load_checkpoint
    from seg_ros.training.config import load_train_config, recipe_path
    from seg_ros.training.distributed import from_first, process_group, rank
    from seg_ros.training.loop import train
    from seg_ros.training.preparation import pick_device
    from seg_ros.training.run_folder import CONFIG_FILE, new_run_folder

    resume = None
    try:
        if args.resume is not None:
            if args.config or args.overrides or args.run_folder:
                raise ValueError('--resume goes on as the run began; give no other settings')
            folder = args.resume
            # A run that was killed before its first checkpoint begins again.
            if not (folder / CONFIG_FILE).is_file() or (folder / FOLDER).is_dir():
                resume = load_checkpoint(args.resume)
                folder = resume.path.parent.parent
            config = load_train_config(folder / CONFIG_FILE)
        else:
            path = recipe_path(args.config) if args.config else None
            config = load_train_config(path, args.overrides)
            folder = args.run_folder or new_run_folder(config.name)
        with process_group(pick_device(config.device).type):
            first = rank() == 0
            done = train(config, from_first(folder), resume=resume, quiet=args.quiet)
    except CheckpointError as error:
        print(f'train: {error}', file=sys.stderr)
        return 1
    if first and done.progress.finished:
        _conclude(done)
    elif first:
        print(f'stopped after step {done.progress.step}; go on with:')
        print(f'  python -m seg_ros train --resume {folder}')
    return 0


def _conclude(done: Run) -> None:
    """Report and model folder of a finished run; in the first process, the others are gone."""
    from seg_ros.training.model_folder import export_run
    from seg_ros.training.report import write_report

    config, folder, store = done.config, done.folder, done.stores['val']
    history = done.progress.history
    scores = write_report(folder, store, history, num_images=config.report_images)
    images = 'validation' if config.holds_out else 'training'
    print(f'run: {folder}, mIoU {scores["mean_iou"]:.4f} on {images} images')
    print(f'report: {folder / "report" / "index.html"}')
    if config.model_dir:
        model = Path(config.model_dir) / config.name
        export_run(folder, model, store, weights_dtype=config.weights_dtype)
        print(f'model: {model}')
