"""What launch files are told of a bag."""

from __future__ import annotations

import json
import re

import pytest

from seg_ros.cli import main
from test.evaluation.conftest import IMAGE_TOPIC, LABEL_TOPIC, build_bag

RAW_NAME = IMAGE_TOPIC.removesuffix('/compressed')


@pytest.fixture
def ask(tmp_path, capsys):
    bag = build_bag(4).save(tmp_path / 'drive')

    def run(*arguments):
        status = main(['bag_topics', str(bag), *arguments])
        printed = capsys.readouterr()
        return json.loads(printed.out) if status == 0 else printed.err

    return run


@pytest.mark.parametrize('topics', [(), (RAW_NAME,), (IMAGE_TOPIC,)])
def test_images_are_found_by_either_name_and_without_any(ask, topics):
    assert ask(*topics) == {
        'image_topics': [RAW_NAME],
        'image_transport': 'compressed',
        'label_transport': 'raw',
        'labels': 4,
    }


def test_labels_are_counted_from_the_start_on(ask):
    assert 0 < ask('--start', '0.01')['labels'] < 4


def test_labels_are_told_of_where_there_are_any(ask):
    assert 'labels' not in ask(RAW_NAME, '--labels', '/other')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('/other',), f"topic '/other' is not in it; expected .* Its topics: {IMAGE_TOPIC}"),
        ((RAW_NAME, LABEL_TOPIC), 'raw and compressed images cannot be mixed'),
        (('--labels', '/other', '--need-labels', RAW_NAME), "topic '/other' is not in it"),
        (('--start', '1000', '--need-labels'), f'no labels on {LABEL_TOPIC} after 1000 s'),
    ],
)
def test_what_is_not_there_is_one_line(ask, arguments, message):
    error = ask(*arguments)
    assert len(error.splitlines()) == 1
    assert re.search(message, error)
