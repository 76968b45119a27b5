"""The example of CONTRIBUTING.md does what the text says."""

import ast
import re
from pathlib import Path

import pytest
import torch

import seg_ros.nets
from seg_ros import cli
from seg_ros.model_card import ClassInfo, InputSpec, ModelCard, load_model_card
from seg_ros.model_export import export_net
from seg_ros.nets import NETS, build_net
from seg_ros.nets.deployed import load_net
from test.nets.images import scene

TEXT = (Path(__file__).parents[2] / 'CONTRIBUTING.md').read_text(encoding='utf-8')
SECTION = TEXT.partition('## Adding a net\n')[2].partition('\n## ')[0]


def block(language):
    (found,) = re.findall(rf'```{language}\n(.*?)```', SECTION, re.DOTALL)
    return found


@pytest.fixture
def added_net(tmp_path, monkeypatch):
    """The example's file and line, in place as the text says."""
    ((name, target),) = ast.literal_eval('{' + block('text') + '}').items()
    module, _, _ = target.partition(':')
    package, _, stem = module.rpartition('.')
    assert package == 'seg_ros.nets'
    (tmp_path / f'{stem}.py').write_text(block('python'))
    monkeypatch.setattr(seg_ros.nets, '__path__', [*seg_ros.nets.__path__, str(tmp_path)])
    monkeypatch.setitem(NETS, name, target)
    return name


def test_example_is_about_ten_lines_of_code():
    lines = [line for line in block('python').splitlines() if line.strip()]
    assert len(lines) <= 10


def test_example_takes_any_size_and_its_option(added_net):
    net = build_net(added_net, 5, options={'width': 8}).eval()
    with torch.inference_mode():
        assert tuple(net(torch.zeros(1, 3, 45, 61))['logits'].shape) == (1, 5, 23, 31)


def test_example_is_exported_and_loaded(added_net, tmp_path):
    net = build_net(added_net, 3)
    classes = tuple(ClassInfo(i, f'class_{i}', (i, i, i)) for i in range(3))
    card = ModelCard('mine', added_net, classes, InputSpec(48, 64, net.logits_stride))
    export_net(net, card, tmp_path / 'mine', [scene(48, 64)])
    loaded = load_net(load_model_card(tmp_path / 'mine'))
    with torch.inference_mode():
        assert tuple(loaded(torch.zeros(1, 48, 64, 3, dtype=torch.uint8)).shape) == (1, 3, 24, 32)


def test_example_is_measured(added_net, capsys):
    assert cli.main(['nets', added_net, '--height', '32', '--width', '32', '--frames', '1']) == 0
    assert f'`{added_net}`' in capsys.readouterr().out
