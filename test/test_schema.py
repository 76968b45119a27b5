from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest

from seg_ros.schema import from_mapping, param, settings_of, to_mapping, type_name, validate


@dataclass(frozen=True)
class Stage:
    epochs: int = param(1, 'Epochs', bounds=(1, 1000))

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True)
class Config:
    name: str = param(doc='Must be given')
    rate: float = param(0.5, 'A rate', bounds=(0.0, 1.0), live=True)
    kind: str = param('a', 'A choice', choices=('a', 'b'))
    topics: tuple[str, ...] = param((), 'A list')
    size: tuple[int, int] | None = param(None, 'Optional')
    stages: tuple[Stage, ...] = param((), 'Nested')
    options: dict[str, Any] = param({}, 'Free')

    def __post_init__(self) -> None:
        validate(self)


def test_plain_values_are_converted_to_the_declared_types():
    config = from_mapping(
        Config,
        {'name': 'x', 'rate': 1, 'topics': ['a'], 'size': [3, 4], 'stages': [{'epochs': 2}]},
    )
    assert config.rate == 1.0
    assert isinstance(config.rate, float)
    assert config.topics == ('a',)
    assert config.size == (3, 4)
    assert config.stages == (Stage(2),)
    assert from_mapping(Config, to_mapping(config)) == config


@pytest.mark.parametrize(
    ('mapping', 'message'),
    [
        ({'name': 'x', 'rat': 1}, "unknown setting 'rat'; did you mean 'rate'"),
        ({}, 'missing name'),
        ({'name': 'x', 'rate': 2}, 'rate: 2.0 is outside 0.0 to 1.0'),
        ({'name': 'x', 'rate': float('nan')}, 'rate: nan is not a number'),
        ({'name': 'x', 'rate': '1'}, "rate: expected float, got '1'"),
        ({'name': 'x', 'rate': True}, 'rate: expected float'),
        ({'name': 'x', 'kind': 'c'}, "kind: 'c' is unknown; available: a, b"),
        ({'name': 'x', 'topics': 'a'}, "topics: expected a list, got 'a'"),
        ({'name': 'x', 'topics': [1]}, 'topics: expected list of str'),
        ({'name': 'x', 'size': [1]}, 'size: expected 2 values'),
        ({'name': 'x', 'stages': [{'epochs': 0}]}, 'epochs: 0 is outside'),
        ({'name': 'x', 'stages': [{'epoch': 3}]}, "stages.*unknown setting 'epoch'"),
        ({'name': 3}, 'name: expected str, got 3'),
    ],
)
def test_wrong_values_are_refused_with_what_is_allowed(mapping, message):
    with pytest.raises(ValueError, match=message):
        from_mapping(Config, mapping)


def test_replace_validates_the_candidate():
    config = Config(name='x')
    with pytest.raises(ValueError, match='rate: -1'):
        dataclasses.replace(config, rate=-1.0)


def test_settings_carry_everything_that_was_declared():
    rate = settings_of(Config)[1]
    assert (rate.name, rate.default, rate.doc, rate.bounds, rate.live) == (
        'rate', 0.5, 'A rate', (0.0, 1.0), True,
    )  # fmt: skip
    assert type_name(settings_of(Config)[3].type) == 'list of str'
