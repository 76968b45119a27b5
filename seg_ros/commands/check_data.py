"""Check a data set before training on it: files, ids, colours, sizes, duplicates, class shares.

    python -m seg_ros check-data --config linknet_camvid data=<folder>
    python -m seg_ros check-data dataset=folder data=<folder> split.mode=random

Where a folder has no classes.yaml, --propose-classes writes one: what the masks hold, with shares.
Give the classes their names in it.

Takes the same recipe and settings as train, which does the same before its first batch.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('--config', metavar='RECIPE', help='YAML file, or a recipe of the package')
    parser.add_argument('--json', type=Path, help='also write what was found to this file')
    parser.add_argument('--overwrite', action='store_true', help='replace that file')
    parser.add_argument(
        '--propose-classes', action='store_true', help='write a classes.yaml where it is missing'
    )
    parser.add_argument('overrides', nargs='*', metavar='key=value', help='settings of train')


def run(args: argparse.Namespace) -> int:
    """Check; 1 when something must be mended."""
    from seg_ros.result_files import demand_place
    from seg_ros.training.data_check import survey_splits
    from seg_ros.training.preparation import open_stores, surveyed_stores
    from seg_ros.training.recipes import load_train_config, recipe_path
    from seg_ros.training.run_folder import write_json
    from seg_ros.training.splits import build_split

    if args.json is not None:
        demand_place(args.json, overwrite=args.overwrite)
    path = recipe_path(args.config) if args.config else None
    config = load_train_config(path, args.overrides)
    if args.propose_classes and config.dataset == 'folder':
        _propose(Path(config.data))
    survey = survey_splits(
        surveyed_stores(config, open_stores(build_split(config))),
        max_images=config.check_images,
        allow_overlap=config.split.allow_overlap,
        allow_missing_classes=config.allow_missing_classes,
    )
    print(survey.to_text())
    if args.json is not None:
        write_json(args.json, survey.to_mapping())
    if survey.problems:
        return 1
    print('no problem found')
    return 0


def _propose(folder: Path) -> None:
    from seg_ros.datasets.folder import CLASSES_FILE
    from seg_ros.datasets.proposal import propose_classes

    path = folder / CLASSES_FILE
    if path.exists():
        print(f'{path} is there already and stays as it is')
        return
    text = propose_classes(folder)
    path.write_text(text, encoding='utf-8')
    print(f'{path} written:\n{text}')
