"""Recipes: YAML files of ``TrainConfig``, with settings changed on the command line."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from seg_ros.datasets import path_options
from seg_ros.schema import from_mapping, to_mapping
from seg_ros.share import share_roots
from seg_ros.training.config import StageConfig, TrainConfig

LOG = logging.getLogger(__name__)
MAX_RECIPE_BYTES = 1 << 20


def load_train_config(path: Path | None, overrides: Iterable[str] = ()) -> TrainConfig:
    """Read a recipe and apply overrides to it.

    Args:
        path: YAML file; the defaults when None.
        overrides: ``key=value`` with a YAML value; dots lead into parts (``optimizer.name=sgd``,
            ``stages.0.epochs=2``), and there are ``SHORT_NAMES``.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is no YAML or a setting is unknown or out of range.
    """
    raw: dict[str, Any] = {}
    if path is not None:
        raw = _load_mapping(path)
        raw.setdefault('recipe', path.stem)
    try:
        merged = to_mapping(from_mapping(TrainConfig, raw))
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error
    parsed = [parse(override) for override in overrides]
    _leave_other_optimizer(merged, dict(parsed), path)
    for key, value in parsed:
        _apply(merged, key, value)
    return from_mapping(TrainConfig, merged)


def with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """The same run with paths that hold in any working directory, so that it can be resumed."""

    def options(dataset: str, given: Mapping[str, Any]) -> dict[str, Any]:
        paths = path_options(dataset)
        return {key: _absolute(v) if key in paths else v for key, v in given.items()}

    return replace(
        config,
        data=_absolute(config.data),
        dataset_options=options(config.dataset, config.dataset_options),
        val_data=_absolute(config.val_data),
        val_dataset_options=options(
            config.val_dataset or config.dataset, config.val_dataset_options
        ),
        extra_data=tuple(
            replace(each, data=_absolute(each.data), options=options(each.dataset, each.options))
            for each in config.extra_data
        ),
        encoder_weights=_absolute(config.encoder_weights),
        init_from=_absolute(config.init_from),
        distillation=replace(config.distillation, teacher=_absolute(config.distillation.teacher)),
        model_dir=str(Path(config.model_dir).absolute()) if config.model_dir else '',
    )


def _absolute(value: str) -> str:
    """A path that exists, absolute; names (``imagenet``, a model's) stay what they are."""
    return str(Path(value).absolute()) if value and Path(value).exists() else value


def save_train_config(config: TrainConfig, path: Path) -> None:
    """Write every setting as YAML, to be read by ``load_train_config``."""
    path.write_text(yaml.safe_dump(to_mapping(config), sort_keys=False), encoding='utf-8')


def recipe_path(name: str) -> Path:
    """Find a recipe: a path, or the name of a file in the package's ``config/train``.

    Raises:
        FileNotFoundError: Listing the recipes that the package brings.
    """
    if Path(name).is_file():
        return Path(name)
    folders = [root / 'config' / 'train' for root in share_roots()]
    for folder in folders:
        if (path := folder / f'{name}.yaml').is_file():
            return path
    known = sorted({path.stem for folder in folders for path in folder.glob('*.yaml')})
    raise FileNotFoundError(f'no recipe {name!r}; give a path or one of: {", ".join(known)}')


class _Loader(yaml.SafeLoader):
    """SafeLoader that takes 1e-3 for a number, as YAML 1.2 does."""


_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float', re.compile(r'[-+]?\d+(\.\d*)?[eE][-+]?\d+$'), list('-+0123456789')
)


def _load_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # noqa: S506 (derived from SafeLoader)


def _load_mapping(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f'recipe {path} does not exist')
    if path.stat().st_size > MAX_RECIPE_BYTES:
        raise ValueError(f'{path} has more than {MAX_RECIPE_BYTES} bytes')
    try:
        raw = _load_yaml(path.read_text(encoding='utf-8'))
    except yaml.YAMLError as error:
        raise ValueError(f'{path} is no YAML: {error}') from error
    if not isinstance(raw, dict):
        raise ValueError(f'{path}: expected a mapping, got {type(raw).__name__}')
    return raw


def parse(override: str) -> tuple[str, Any]:
    """Key and value of ``key=value``.

    Raises:
        ValueError: If it is none.
    """
    key, separator, text = override.partition('=')
    if not separator or not key:
        raise ValueError(f'override {override!r}: write key=value, such as optimizer.name=sgd')
    try:
        value = text if text in ('', '-') else _load_yaml(text)
    except yaml.YAMLError as error:
        raise ValueError(f'override {override!r}: the value is no YAML: {error}') from error
    return key, value


def _leave_other_optimizer(
    raw: dict[str, Any], overrides: Mapping[str, Any], path: Path | None
) -> None:
    """Another optimiser than the recipe's does not take over what was chosen for that one."""
    options = raw['optimizer']
    name = overrides.get('optimizer.name', options['name'])
    if name == options['name']:
        return
    if path is not None and not {'lr', 'stages', 'stages.0.learning_rate'} & overrides.keys():
        LOG.warning(
            'the learning rate is still the one for %s in %s; find-lr suggests one for %s',
            options['name'],
            path.name,
            name,
        )
    options |= {'momentum': None, 'weight_decay': None}


def _apply(raw: dict[str, Any], key: str, value: Any) -> None:
    if key in SHORT_NAMES:
        try:
            _SHORT[key](raw, value)
        except (TypeError, AttributeError) as error:
            raise ValueError(f'{key}={value}: {error}') from error
        return
    *parents, last = key.split('.')
    place: Any = raw
    for part in parents:
        place = _step(place, part, key)
    if isinstance(place, list):
        _step(place, last, key)
        place[int(last)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise ValueError(f'{key}: {".".join(parents)} has no parts')


def _step(place: Any, part: str, key: str) -> Any:
    if isinstance(place, list):
        if not part.isdigit() or int(part) >= len(place):
            raise ValueError(f'{key}: {part!r} is no index 0..{len(place) - 1}')
        return place[int(part)]
    if not isinstance(place, dict) or part not in place:
        allowed = ', '.join(place) if isinstance(place, dict) else 'nothing'
        raise ValueError(f'{key}: no part {part!r}; available: {allowed}')
    return place[part]


def _set_epochs(raw: dict[str, Any], value: Any) -> None:
    """The total of all stages; several share it as they share that of the recipe."""
    stages = raw['stages']
    if type(value) is not int or value < len(stages):
        raise ValueError(f'epochs={value}: give a whole number, at least one per stage')
    before = [stage.get('epochs', StageConfig().epochs) for stage in stages]
    ends = [round(value * sum(before[: i + 1]) / sum(before)) for i in range(len(stages))]
    for i, stage in enumerate(stages):
        # Every stage keeps an epoch, and leaves one to each that follows.
        begin = ends[i - 1] if i else 0
        ends[i] = min(max(ends[i], begin + 1), value - (len(stages) - 1 - i))
        stage['epochs'] = ends[i] - begin


def _set_batch_size(raw: dict[str, Any], value: Any) -> None:
    for stage in raw['stages']:
        stage['batch_size'] = value


def _set_learning_rate(raw: dict[str, Any], value: Any) -> None:
    """The highest peak of all stages; the others keep their ratio to it."""
    stages = raw['stages']
    before = [stage.get('learning_rate', StageConfig().learning_rate) for stage in stages]
    for stage, rate in zip(stages, before, strict=True):
        stage['learning_rate'] = value * rate / max(before) if max(before) else value


def _set_size(raw: dict[str, Any], value: Any) -> None:
    match = re.fullmatch(r'(\d+)x(\d+)', str(value))
    if not match:
        raise ValueError(f'size={value}: write rows and columns, such as size=480x640')
    raw['height_px'], raw['width_px'] = map(int, match.groups())


_SHORT = {
    'epochs': _set_epochs,
    'batch_size': _set_batch_size,
    'lr': _set_learning_rate,
    'size': _set_size,
}
SHORT_NAMES = tuple(_SHORT)
