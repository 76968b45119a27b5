from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np

from seg_ros import segmenter
from seg_ros.commands.interface import parameter_table
from seg_ros.evaluation.frames import BagFrames
from seg_ros.evaluation.offline import evaluate
from seg_ros.evaluation.report import MEASURED_KEYS, headline, plain, save_json
from seg_ros.evaluation.scoring import Scoring
from test.conftest import PRIMARY_CLASSES
from test.evaluation.conftest import IMAGE_TOPIC, LABEL_TOPIC

ROOT = Path(__file__).resolve().parents[2]


def test_every_key_is_described_and_every_described_key_is_there(bag, primary_model):
    net = segmenter.load(primary_model, backend='onnxruntime')
    report = evaluate(BagFrames([bag], IMAGE_TOPIC, LABEL_TOPIC), [net], with_progress=False)
    text = (
        (ROOT / 'docs' / 'report_schema.md').read_text(encoding='utf-8').split('## Comparison')[0]
    )
    described = {
        key for row in re.findall(r'^\| (`.*?`) \|', text, re.M) for key in re.findall(r'\w+', row)
    }
    assert described == set(report.content)
    assert set(MEASURED_KEYS) <= described


def test_files_are_json_whatever_the_scores_are(tmp_path):
    empty = headline(Scoring(PRIMARY_CLASSES))
    save_json(empty, tmp_path / 'deep' / 'empty.json')
    read = json.loads((tmp_path / 'deep' / 'empty.json').read_text())
    assert read['miou'] is None
    assert read['iou'] == {'red': None, 'green': None, 'blue': None}


def test_values_become_plain():
    value = {'a': np.float32(0.5), 'b': np.array([1, 2]), 'c': (math.nan, 'text', np.int64(3))}
    assert plain(value) == {'a': 0.5, 'b': [1, 2], 'c': [None, 'text', 3]}


def test_documentation_carries_the_parameters_of_the_node():
    text = (ROOT / 'docs' / 'evaluation.md').read_text(encoding='utf-8')
    assert parameter_table('evaluation') in text


def test_foxglove_layout_shows_every_panel_it_configures():
    layout = json.loads((ROOT / 'config' / 'foxglove_layout.json').read_text(encoding='utf-8'))

    def panels(node):
        return {node} if isinstance(node, str) else panels(node['first']) | panels(node['second'])

    assert panels(layout['layout']) == set(layout['configById'])
    topics = {
        panel['imageMode']['imageTopic']
        for panel in layout['configById'].values()
        if 'imageMode' in panel
    }
    assert {f'/segmentation/{name}' for name in ('color_mask', 'confidence', 'overlay')} < topics


def test_style_of_the_page_is_packaged():
    assert 'evaluation/report.css' in (ROOT / 'setup.py').read_text(encoding='utf-8')
