from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from test.evaluation.conftest import IMAGE_TOPIC, build_bag

LAUNCH_FILE = Path(__file__).resolve().parents[2] / 'launch' / 'evaluate.launch.py'

ROS2 = 'import sys; from ros2cli.cli import main; sys.exit(main())'


def declared():
    """The table of arguments, read without launch."""
    tree = ast.parse(LAUNCH_FILE.read_text())
    tables = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == 'ARGUMENTS'
    ]
    return {name: default for name, default, _ in ast.literal_eval(tables[0])}


def test_arguments_are_declared_with_their_defaults():
    arguments = declared()
    assert arguments['bag'] is None
    assert all(isinstance(value, str) for name, value in arguments.items() if name != 'bag')
    assert {'rate', 'loop', 'start', 'clock', 'min_miou', 'json', 'html'} <= arguments.keys()


def load():
    pytest.importorskip('launch_ros', reason='launch_ros is not installed')
    spec = importlib.util.spec_from_file_location('evaluate_launch', LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_description_declares_the_arguments():
    module = load()
    from launch.actions import DeclareLaunchArgument

    entities = module.generate_launch_description().entities
    names = {entry.name for entry in entities if isinstance(entry, DeclareLaunchArgument)}
    assert names == declared().keys()


@pytest.mark.ros
@pytest.mark.parametrize(('min_miou', 'status'), [('0.1', 0), ('0.99', 1)])
def test_run_ends_by_itself_and_fails_below_min_miou(tmp_path, primary_model, min_miou, status):
    load()
    pytest.importorskip('ros2launch', reason='ros2launch is not installed')
    bag = build_bag(10).save(tmp_path / 'drive')
    report = tmp_path / 'report.json'
    arguments = {
        'bag': bag,
        'image_topic': IMAGE_TOPIC,
        'model': primary_model,
        'backend': 'onnxruntime',
        'min_miou': min_miou,
        'quiet_after_s': '2.0',
        'json': report,
        'html': tmp_path / 'report.html',
    }
    listed = [f'{name}:={value}' for name, value in arguments.items()]
    done = subprocess.run(
        [sys.executable, '-c', ROS2, 'launch', str(LAUNCH_FILE), *listed],
        env={**os.environ, 'ROS_LOG_DIR': str(tmp_path / 'log')},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    content = json.loads(report.read_text())
    assert content['frames'] + content['dropped'] == 10
    assert content['frames'] >= 5
