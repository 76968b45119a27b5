"""A data set and a net of the user's own, in a file beside the data."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import seg_ros
from seg_ros.datasets import build_dataset
from seg_ros.nets import build_net, net_options

ROOT = Path(__file__).resolve().parents[2]
NET = """
from torch import nn


class MyNet(nn.Module):
    stride, logits_stride = 2, 1

    def __init__(self, num_classes, width=4):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, 1, 1), nn.ReLU())
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, image):
        return self.head(self.body(image))
"""


def example_of_the_docs() -> str:
    text = (ROOT / 'docs' / 'training.md').read_text(encoding='utf-8')
    (found,) = re.findall(r'```python\n(# my_module.py\n.*?)```', text, re.DOTALL)
    return found


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the code of the docs and photos that it can label."""
    (tmp_path / 'own_robot_code.py').write_text(example_of_the_docs() + NET)
    (tmp_path / 'photos').mkdir()
    noise = np.random.default_rng(0)
    for index in range(6):
        image = noise.integers(0, 256, (48, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / 'photos' / f'{index}.png'), image)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    yield tmp_path
    sys.modules.pop('own_robot_code', None)


def test_own_classes_are_built_with_their_options(project):
    dataset = build_dataset('own_robot_code:MyDataset', project, options={'threshold': 300})
    assert dataset[0].labels.max() == 0
    assert net_options('own_robot_code:MyNet') == {'width': 4}
    assert build_net('own_robot_code:MyNet', 2, options={'width': 6}).logits_stride == 1
    with pytest.raises(ValueError, match=r"has no option .'depth'.*width = 4"):
        build_net('own_robot_code:MyNet', 2, options={'depth': 6})


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('my_net', r"unknown net 'my_net'; available: .*linknet.*, or a class of your own as"),
        ('gone:MyNet', r"no module 'gone' in .* add its folder to PYTHONPATH"),
        ('own_robot_code:Other', r"no class 'Other'; it has MyDataset, MyNet"),
        (':MyNet', 'write it as my_module:MyClass'),
        ('subprocess:Popen', "'subprocess:Popen' is no torch.nn.Module"),
        ('os:system', "no class 'system'"),
        ('broken_own_code:MyNet', "imports 'not_there_at_all', which is not installed"),
    ],
)
def test_what_is_not_there_is_said(project, name, message):
    (project / 'broken_own_code.py').write_text('import not_there_at_all\n')
    with pytest.raises(ValueError, match=message):
        build_net(name, 2)


@pytest.mark.slow
def test_trained_with_own_code_and_run_without_it(project, monkeypatch):
    settings = [
        *('dataset=own_robot_code:MyDataset', 'net=own_robot_code:MyNet', 'data=.', 'name=mine'),
        *('split.mode=random', 'size=48x64', 'epochs=1', 'max_steps=2', 'batch_size=2'),
    ]
    done = subprocess.run(
        [sys.executable, '-m', 'seg_ros', 'train', '--quiet', *settings],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    model = project / 'models' / 'mine'
    (project / 'own_robot_code.py').unlink()
    monkeypatch.chdir(ROOT)
    segmenter = seg_ros.load(model)
    assert segmenter.card.net == 'own_robot_code:MyNet'
    with pytest.raises(
        ValueError, match=r"names the code 'own_robot_code:MyNet', which is not st"
    ):
        seg_ros.load(model, backend='torch')
    assert segmenter.segment(np.zeros((48, 64, 3), np.uint8)).labels.shape == (48, 64)
