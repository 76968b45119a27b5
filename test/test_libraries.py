"""What a test run does where a library is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from test import primary_graph

ROOT = Path(__file__).resolve().parent.parent
TESTS = """
import pytest

def test_needs_torch():
    import torch

def test_fails():
    import no_library_of_ours

@pytest.fixture
def net():
    import torch

def test_whose_fixture_needs_torch(net):
    pass
"""

CONFTEST = """
import sys
from test.libraries import pytest_make_collect_report, pytest_runtest_makereport

class Blocked:
    def find_spec(name, *_):
        if name == {blocked!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}')

sys.meta_path.insert(0, Blocked)
"""


def run_tests(folder, *, blocked):
    """Run tests in a Python that has no module ``blocked``; gives what pytest prints."""
    (folder / 'conftest.py').write_text(CONFTEST.format(blocked=blocked))
    plugins = ('randomly', 'cacheprovider', 'launch_testing', 'launch_ros')
    command = [sys.executable, '-m', 'pytest', '-rs', *(f'-pno:{name}' for name in plugins)]
    paths = [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths)}
    return subprocess.run(
        [*command, '--rootdir', str(folder), str(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def test_a_test_that_needs_a_missing_library_is_skipped_with_the_reason(tmp_path):
    (tmp_path / 'test_nets.py').write_text(TESTS)
    (tmp_path / 'test_training.py').write_text('import torch\n\ndef test_it():\n    pass\n')
    output = run_tests(tmp_path, blocked='torch')
    assert '1 failed, 3 skipped' in output
    assert "torch is not installed: the extra 'train' has it" in output
    assert "No module named 'no_library_of_ours'" in output


@pytest.mark.parametrize('size', primary_graph.STORED, ids=str)
def test_the_stored_graphs_are_those_that_onnx_builds(size):
    onnx = pytest.importorskip('onnx', reason='onnx is not installed')
    stored = onnx.load_from_string(primary_graph.read_graph(*size))
    assert stored.graph == onnx.load_from_string(primary_graph.build_graph(*size)).graph
