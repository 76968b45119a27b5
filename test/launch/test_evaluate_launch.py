"""The launch file that plays a bag through the node and scores it."""

from __future__ import annotations

import json

import pytest

from test.evaluation.conftest import IMAGE_TOPIC, build_bag

pytestmark = pytest.mark.ros


@pytest.fixture
def evaluate(ros2_launch, tmp_path, params_file, primary_model):
    """Score a bag of ten frames: (status, report, what was printed)."""
    bag = build_bag(10).save(tmp_path / 'drive')

    def run(*, max_rate=0.0, **arguments):
        arguments = {
            'bag': bag,
            'image_topic': IMAGE_TOPIC,
            'model': primary_model,
            'params_file': params_file(max_rate=max_rate),
            'quiet_after_s': 2.0,
            'min_scored': 0.5,  # machines of tests are busy
            'json': 'report.json',
            'html': 'report.html',
            **arguments,
        }
        status, text = ros2_launch('evaluate.launch.py', **arguments).wait(90)
        report = tmp_path / 'report.json'
        return status, json.loads(report.read_text()) if report.exists() else None, text

    return run


@pytest.mark.parametrize(('min_miou', 'status'), [(0.1, 0), (0.99, 1)])
def test_it_ends_by_itself_and_fails_below_min_miou(evaluate, min_miou, status):
    ended, report, text = evaluate(min_miou=min_miou)
    assert ended == status, text
    assert report['frames'] + report['dropped'] == 10
    assert report['scored'] >= 5
    assert ('is below min_miou' in text) == bool(status)


def test_a_score_that_rests_on_too_few_frames_fails_with_the_figure(evaluate):
    """The node takes one frame a second here; the others are dropped."""
    status, report, text = evaluate(max_rate=1.0, min_scored=0.9, min_miou=0.1)
    assert status == 1
    assert f'{report["scored"]} of 10 true labels were scored' in text


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'bag': 'WRONG'}, 'no bag at WRONG'),
        ({'image_topic': '/other'}, "topic '/other' is not in it"),
        ({'label_topic': '/other'}, "topic '/other' is not in it"),
        ({'start': 1000}, 'no labels on /ground_truth/labels after 1000 s'),
        ({'params_file': 'WRONG'}, 'params_file:=WRONG: no such file'),
        ({'rate': 'fast'}, 'rate:=fast is no number'),
        ({'void_ids': 'all'}, 'void_ids:=all is no list'),
        ({'clock': 'maybe'}, 'clock:=maybe; give true or false'),
    ],
)
def test_a_wrong_input_ends_the_launch_before_anything_starts(evaluate, arguments, message):
    status, report, text = evaluate(**arguments)
    assert (status, report) == (1, None)
    assert message in text
    assert 'process started' not in text


def test_a_report_is_replaced_only_where_that_is_asked_for(evaluate, tmp_path):
    (tmp_path / 'report.json').write_text('{"frames": "of an earlier run"}')
    status, report, text = evaluate()
    assert (status, report['frames']) == (1, 'of an earlier run')
    assert 'report.json exists' in text
    status, report, text = evaluate(overwrite='True')
    assert status == 0, text
    assert report['frames'] >= 5


def test_a_wrong_model_is_noticed_at_once(evaluate):
    status, report, text = evaluate(model='nosuch')
    assert (status, report) == (1, None)
    assert "no model 'nosuch'" in text
    assert 'nothing to score came' not in text  # which takes a minute
