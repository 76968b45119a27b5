"""The graphs that come with the package, for the engines of every distribution."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

ROOT = Path(__file__).resolve().parent.parent
GRAPHS = sorted((ROOT / 'models').glob('*/*.onnx'))
# ONNX Runtime 1.18 and OpenVINO 2024.4 read them; Python 3.10 ends at ONNX Runtime 1.23.
NEWEST_IR, NEWEST_OPSET = 10, 20


def assert_old_engines_read(path):
    model = onnx.load(path, load_external_data=False)
    assert model.ir_version <= NEWEST_IR
    (operators,) = model.opset_import
    assert (operators.domain, operators.version <= NEWEST_OPSET) == ('', True)
    assert {node.domain for node in model.graph.node} == {''}  # no operators of one engine


@pytest.mark.parametrize('path', GRAPHS, ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_the_engines_of_every_distribution_read_the_graph(path):
    assert_old_engines_read(path)
