"""Datasets by name: one file each, all giving numpy arrays (see ``sample.Sample``)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seg_ros.datasets.sample import Dataset
from seg_ros.own_code import class_by_name

# name -> 'module:Class'; imported when it is asked for.
DATASETS: dict[str, str] = {
    'bag': 'seg_ros.datasets.bag:LabelledBag',
    'camvid': 'seg_ros.datasets.camvid:Camvid',
    'folder': 'seg_ros.datasets.folder:Folder',
    'oxford_pet': 'seg_ros.datasets.oxford_pet:OxfordPet',
    'robocup': 'seg_ros.datasets.robocup:RoboCup',
    'sun_rgbd': 'seg_ros.datasets.sun_rgbd:SunRgbd',
    'virtual_kitti': 'seg_ros.datasets.virtual_kitti:VirtualKitti',
    'robocup_scenes': 'seg_ros.datasets.robocup_scenes:RobocupScenes',
}


def build_dataset(
    name: str,
    folder: Path | str,
    split: str = 'all',
    options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Open one split of a dataset.

    Args:
        name: Key of ``DATASETS``, or ``my_module:MyDataset``: a class as ``sample.Dataset``.
        folder: Where its files lie; what exactly is the dataset's own docstring.
        split: ``train``, ``val``, ``test`` where the dataset has them, or ``all``.
        options: Keyword arguments of the dataset's class beside ``folder`` and ``split``.

    Raises:
        ValueError: If the name, the split or an option is unknown.
        FileNotFoundError: If the folder or a file that must be there is missing.
    """
    cls = _class_of(name)
    chosen = dict(options or {})
    known = [key for key in inspect.signature(cls).parameters if key not in ('folder', 'split')]
    if unknown := sorted(chosen.keys() - set(known)):
        allowed = ', '.join(known) or 'none'
        raise ValueError(f'dataset {name!r} has no option {unknown}; its options: {allowed}')
    dataset: Dataset = cls(folder=Path(folder), split=split, **chosen)
    if not len(dataset):
        raise ValueError(f'dataset {name!r} in {folder} has no sample in split {split!r}')
    return dataset


def path_options(name: str) -> tuple[str, ...]:
    """The options of a dataset that are paths."""
    found: tuple[str, ...] = getattr(_class_of(name), 'path_options', ())
    return found


def _class_of(name: str) -> Any:
    return class_by_name('dataset', name, DATASETS)
