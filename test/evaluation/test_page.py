from __future__ import annotations

import html.parser
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest

from seg_ros import segmenter
from seg_ros.evaluation.charts import Line, histogram, line_chart
from seg_ros.evaluation.examples import Examples, example
from seg_ros.evaluation.frames import BagFrames
from seg_ros.evaluation.offline import evaluate
from seg_ros.evaluation.page import render, save_page
from seg_ros.evaluation.report import build_report
from seg_ros.evaluation.scoring import Scoring
from test.conftest import PRIMARY_CLASSES
from test.evaluation.conftest import IMAGE_TOPIC, LABEL_TOPIC, scene

BROWSER = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('chrome')


@pytest.fixture
def report(bag, primary_model):
    net = segmenter.load(primary_model, backend='onnxruntime')
    return evaluate(BagFrames([bag], IMAGE_TOPIC, LABEL_TOPIC), [net], with_progress=False)


class Tags(html.parser.HTMLParser):
    """Counts the elements and collects what would be loaded."""

    def __init__(self):
        super().__init__()
        self.count = {}
        self.loaded = []

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.loaded += [value for key, value in attrs if key in ('src', 'href', 'data', 'action')]


def test_page_loads_nothing_and_runs_nothing(report):
    page = render(report)
    tags = Tags()
    tags.feed(page)
    assert tags.loaded
    assert all(value.startswith('data:image/') for value in tags.loaded)
    assert not {'script', 'link', 'iframe', 'object'} & tags.count.keys()
    assert 'url(' not in page
    assert '@import' not in page


def test_page_shows_every_part_of_the_report(report):
    page = render(report)
    for title in ('Classes', 'Confusion', 'Can the confidence be believed?', 'IoU over time'):
        assert title in page
    for title in ('Latency', 'Best', 'Around the median', 'Worst', 'Model card', 'Machine'):
        assert title in page
    assert f'{report.content["miou"]:.4f}' in page
    for name, iou in report.content['iou'].items():
        assert re.search(rf'{name}</td><td>{iou:.4f}<', page)


def test_names_from_outside_are_escaped():
    scoring = Scoring(PRIMARY_CLASSES)
    image, truth = scene(1)
    evil = '<script>alert(1)</script>"\'&'
    scoring.add(evil, truth, truth_hw=truth, latency_ms=1.0, time_s=0.0)
    scoring.skips.add(evil, evil)
    pictures = Examples()
    pictures.add(1.0, example(evil, 1.0, image, truth, [(evil, truth)], PRIMARY_CLASSES))
    report = build_report(
        scoring,
        model=evil,
        backend=evil,
        source={'kind': 'bag', 'image_topic': evil, evil: evil},
        timing={'latency_is': evil},
        examples=pictures.chosen(),
    )
    page = render(report)
    assert '<script' not in page
    assert '&lt;script&gt;' in page


def test_a_run_without_truth_has_a_page(bag, primary_model):
    net = segmenter.load(primary_model, backend='onnxruntime')
    page = render(evaluate(BagFrames([bag], IMAGE_TOPIC), [net], with_progress=False))
    assert 'What was seen over time' in page
    assert 'Confusion' not in page
    assert 'nan' not in re.sub(r'base64,[^"]*', '', page).lower()


@pytest.mark.parametrize('values', [[], [float('nan')], [1.0], [2.0, 2.0], [0.0, 0.0]])
def test_charts_of_odd_data_hold_no_broken_numbers(values):
    x = list(range(len(values)))
    chart = line_chart(x, [Line('a', 'red', values)], x_label='x', y_label='y')
    chart += histogram(values, x_label='x', marks={'p50': 1.0})
    assert 'nan' not in chart
    assert 'inf' not in chart


def test_examples_are_the_best_the_median_and_the_worst():
    examples = Examples()
    rng = np.random.default_rng(0)
    values = rng.permutation(500) / 500
    _, truth = scene(0)
    for index, value in enumerate(values.tolist()):
        picture = None
        if examples.wants(value):
            picture = example(f'{index}', value, None, truth, [('p', truth)], PRIMARY_CLASSES)
        examples.add(value, picture)
    chosen = {
        kind: [entry.value for entry in entries] for kind, entries in examples.chosen().items()
    }
    assert chosen['best'] == sorted(values)[::-1][:2]
    assert chosen['worst'] == sorted(values)[:2]
    assert all(abs(value - 0.5) < 0.06 for value in chosen['median'])


@pytest.mark.skipif(BROWSER is None, reason='no chromium is installed')
def test_page_is_drawn_by_a_real_browser(report, tmp_path):
    page, picture = tmp_path / 'report.html', tmp_path / 'page.png'
    save_page(report, page)
    flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking']
    flags += ['--disable-component-update', '--disable-sync', '--no-first-run']
    flags += [f'--user-data-dir={tmp_path / "browser"}', '--window-size=1240,3000']
    flags += ['--hide-scrollbars', '--force-color-profile=srgb']
    done = subprocess.run(
        [BROWSER, *flags, f'--screenshot={picture}', '--enable-logging=stderr', page.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert 'CONSOLE' not in done.stderr  # errors and refused loads show up there
    drawn = cv2.imread(str(picture))
    assert drawn.shape[:2] == (3000, 1240)
    # The accent colour of curves and the red of wrong pixels: charts and pictures are there.
    for bgr, least in (((210, 105, 23), 2000), ((30, 30, 230), 500)):
        near = (np.abs(drawn.astype(int) - bgr) < 30).all(axis=2)
        assert near.sum() > least
