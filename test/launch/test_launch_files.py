"""What holds of the launch files without any launch."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

LAUNCH_FILES = sorted((Path(__file__).resolve().parents[2] / 'launch').glob('*.launch.py'))
OF_LAUNCH = {'launch', 'launch_ros', 'ament_index_python'}


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda path: path.name)
def test_a_launch_file_needs_nothing_but_launch(path):
    """The Python of a distribution's ros2 has neither our engines nor what our code imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition('.')[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or '').partition('.')[0])
    assert found <= OF_LAUNCH | set(sys.stdlib_module_names)


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda path: path.name)
def test_a_launch_file_defines_its_description(path):
    tree = ast.parse(path.read_text(encoding='utf-8'))
    assert 'generate_launch_description' in {getattr(node, 'name', '') for node in tree.body}
