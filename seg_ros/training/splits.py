"""Which samples train and which validate; drawn from a seed and saved with the run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seg_ros.datasets import build_dataset
from seg_ros.datasets.mixture import Mixture, require_same_classes
from seg_ros.datasets.sample import Dataset
from seg_ros.training.config import ExtraDataConfig, TrainConfig

MAX_WATCHED = 100  # training images that are looked at where nothing is held out


@dataclass(frozen=True)
class Split:
    """Training and validation samples.

    Attributes:
        train: Data set of the training samples.
        train_indices: Which of them.
        val: Data set of the validation samples.
        val_indices: Which of them.
    """

    train: Dataset
    train_indices: tuple[int, ...]
    val: Dataset
    val_indices: tuple[int, ...]

    def save(self, path: Path) -> None:
        """Write the names of the samples as JSON."""
        names = {
            'train': [self.train.names[i] for i in self.train_indices],
            'val': [self.val.names[i] for i in self.val_indices],
        }
        path.write_text(json.dumps(names, indent=1), encoding='utf-8')


def build_split(config: TrainConfig, saved: Path | None = None) -> Split:
    """Open the data sets of a run and split them.

    Args:
        config: The run.
        saved: What ``Split.save`` wrote for this run; its names are then taken.

    Raises:
        ValueError: If the classes of the data sets differ or a saved name is gone.
        FileNotFoundError: If the data are not there.
    """
    train = _open_training_data(config)
    val = _open_validation_data(config)
    train_indices: Sequence[int] = range(len(train))
    if val is not None:
        val_indices: Sequence[int] = range(len(val))
    else:
        val = train
        train_indices, val_indices = _divide(config, train)
    require_same_classes(train.classes, val.classes, 'the validation data')
    if config.extra_data:
        own = len(train)
        train = _with_extra_data(train, config.extra_data)
        train_indices = [*train_indices, *range(own, len(train))]
    if saved is not None:
        names = json.loads(saved.read_text(encoding='utf-8'))
        train_indices = _indices_of(names['train'], train, saved)
        val_indices = _indices_of(names['val'], val, saved)
    return Split(train, tuple(train_indices), val, tuple(val_indices))


def _open_training_data(config: TrainConfig) -> Dataset:
    plan = config.split
    names = {'given': (plan.train,), 'groups': plan.pool, 'all': plan.pool}.get(
        plan.mode, ('all',)
    )
    parts = {
        name: build_dataset(config.dataset, config.data, name, config.dataset_options)
        for name in names
    }
    first, *others = parts.values()
    return Mixture(parts, (1,) * len(parts)) if others else first


def _open_validation_data(config: TrainConfig) -> Dataset | None:
    """Validation data that are not a part of the training's; None without."""
    plan, options = config.split, config.dataset_options
    given = plan.mode == 'given'
    if config.val_dataset or config.val_data or config.val_dataset_options:
        if plan.mode == 'groups':
            raise ValueError(
                'split.mode groups divides one data set: leave val_dataset, val_data and '
                'val_dataset_options empty, or take another mode'
            )
        return build_dataset(
            config.val_dataset or config.dataset,
            config.val_data or config.data,
            plan.val if given else 'all',
            config.val_dataset_options or ({} if config.val_dataset else options),
        )
    return build_dataset(config.dataset, config.data, plan.val, options) if given else None


def _divide(config: TrainConfig, dataset: Dataset) -> tuple[list[int], list[int]]:
    count = len(dataset)
    if config.split.mode == 'groups':
        return groups_split(config, dataset.names)
    if config.split.mode == 'all':
        step = -(-count // MAX_WATCHED)
        return list(range(count)), list(range(0, count, step))
    divide = random_split if config.split.mode == 'random' else blocked_split
    return divide(config, count)


def random_split(config: TrainConfig, count: int) -> tuple[list[int], list[int]]:
    """Draw validation samples one by one; right for images that are no neighbours of each other.

    Raises:
        ValueError: If one side would be empty.
    """
    order = np.random.default_rng(config.seed).permutation(count).tolist()
    held = max(1, round(count * config.split.val_fraction))
    return _both_sides(sorted(order[held:]), sorted(order[:held]), count)


def blocked_split(config: TrainConfig, count: int) -> tuple[list[int], list[int]]:
    """Draw whole blocks of neighbouring frames, in the order of the data set.

    Neighbouring frames of a video show the same scene; on both sides of a split they would make
    the score that of images that were learned. ``gap`` frames beside each validation block are
    left out of training.

    Raises:
        ValueError: If one side would be empty.
    """
    block, gap = config.split.block, config.split.gap
    starts = list(range(0, count, block))
    held = max(1, round(len(starts) * config.split.val_fraction))
    drawn = np.random.default_rng(config.seed).permutation(len(starts))[:held]
    val = sorted(i for b in drawn for i in range(starts[b], min(starts[b] + block, count)))
    near = {i + shift for i in val for shift in range(-gap, gap + 1)}
    return _both_sides([i for i in range(count) if i not in near], val, count)


def groups_split(config: TrainConfig, names: Sequence[str]) -> tuple[list[int], list[int]]:
    """Divide by names: a drive, a match or a place is on one side as a whole.

    A score on drives that were trained on says little about the next drive.

    Args:
        config: The run; the expressions are searched anywhere in a name.
        names: Of the samples; where several splits are pooled, each begins with its split.

    Raises:
        ValueError: If one side would be empty or a name fits both.
    """
    plan = config.split
    val = [i for i, name in enumerate(names) if re.search(plan.val_groups, name)]
    if plan.train_groups:
        train = [i for i, name in enumerate(names) if re.search(plan.train_groups, name)]
    else:
        train = sorted(set(range(len(names))) - set(val))
    if both := sorted(set(train) & set(val)):
        raise ValueError(
            f'{len(both)} names fit split.train_groups {plan.train_groups!r} and '
            f'split.val_groups {plan.val_groups!r}, such as {names[both[0]]!r}'
        )
    if not train or not val:
        raise ValueError(
            f'of {len(names)} names such as {names[0]!r}, {len(train)} are for training and '
            f'{len(val)} for validation; change split.train_groups or split.val_groups'
        )
    return train, val


def _with_extra_data(own: Dataset, extra_data: Sequence[ExtraDataConfig]) -> Dataset:
    """Training data and what else is to be trained on; names say which setting brought them."""
    parts = {'': own}
    for number, extra in enumerate(extra_data):
        parts[f'extra_data.{number}'] = build_dataset(
            extra.dataset, extra.data, extra.split, extra.options
        )
    return Mixture(parts, (1, *(extra.repeat for extra in extra_data)))


def _both_sides(train: list[int], val: list[int], count: int) -> tuple[list[int], list[int]]:
    if not train or not val:
        raise ValueError(
            f'{count} samples split into {len(train)} for training and {len(val)} for '
            'validation; change split.val_fraction, split.block or split.gap'
        )
    return train, val


def _indices_of(names: list[str], dataset: Dataset, saved: Path) -> list[int]:
    place = {name: i for i, name in enumerate(dataset.names)}
    if missing := [name for name in names if name not in place]:
        raise ValueError(
            f'{saved} names {len(missing)} samples that are gone, such as {missing[0]!r}; bring '
            'the data back or start a new run'
        )
    return [place[name] for name in names]
