"""Find a good learning rate: raise it step by step until the loss blows up (Smith's range test).

    python -m seg_ros find-lr --config linknet_camvid data=<folder>

Takes the same recipe and settings as train; writes no run and leaves no weights behind.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('--config', metavar='RECIPE', help='YAML file, or a recipe of the package')
    parser.add_argument('--stage', type=int, default=0, help='which stage, from 0')
    parser.add_argument('--low', type=float, default=1e-7, help='first learning rate')
    parser.add_argument('--high', type=float, default=10.0, help='last learning rate')
    parser.add_argument('--steps', type=int, default=100, help='steps from one to the other')
    parser.add_argument('--picture', type=Path, default=Path('find_lr.png'), help='the curve')
    parser.add_argument('--overwrite', action='store_true', help='replace the picture')
    parser.add_argument('overrides', nargs='*', metavar='key=value', help='settings of train')


def run(args: argparse.Namespace) -> int:
    """Test; prints the suggested rate and writes the curve."""
    from seg_ros.result_files import demand_place, write_atomically
    from seg_ros.training.lr_finder import find_learning_rate
    from seg_ros.training.pictures import range_test_picture, to_png
    from seg_ros.training.preparation import prepare
    from seg_ros.training.recipes import load_train_config, recipe_path

    demand_place(args.picture, overwrite=args.overwrite)
    path = recipe_path(args.config) if args.config else None
    config = load_train_config(path, args.overrides)
    if not 0 <= args.stage < len(config.stages):
        raise ValueError(
            f'--stage {args.stage}: the recipe has {len(config.stages)} stages, from 0'
        )
    ready = prepare(config, Path(), record=False)
    found = find_learning_rate(ready, args.stage, low=args.low, high=args.high, steps=args.steps)
    picture = range_test_picture(found.rates, found.losses, found.suggestion)
    print(f'steepest fall of the loss at {found.suggestion:.2e}: use it as the peak')
    print(f'a tenth of the rate of the smallest loss is {found.largest:.2e}: for one cycle')
    print(f'settings: stages.{args.stage}.learning_rate={found.suggestion:.2e}')
    write_atomically(args.picture, to_png(picture))
    print(f'curve: {args.picture}')
    return 0
