from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from seg_ros.cli import COMMANDS, main
from seg_ros.commands import train

SCRIPTS = Path(__file__).resolve().parent.parent / 'scripts'


@pytest.mark.parametrize('command', sorted(COMMANDS))
def test_help_needs_neither_torch_nor_ros_nor_an_engine(command):
    code = (
        'import sys\n'
        'from seg_ros.cli import main\n'
        'try:\n'
        f'    main([{command!r}, "--help"])\n'
        'except SystemExit as end:\n'
        '    assert end.code == 0\n'
        'heavy = {"torch", "rclpy", "openvino", "onnxruntime", "mujoco", "matplotlib"}\n'
        'assert not heavy & set(sys.modules), heavy & set(sys.modules)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f'python -m seg_ros {command}' in done.stdout
    assert len(done.stdout.splitlines()) > 3


def test_each_command_has_its_executable_for_ros2_run():
    found = {path.name for path in SCRIPTS.iterdir()}
    assert found == set(COMMANDS)
    for path in SCRIPTS.iterdir():
        assert path.resolve() == (SCRIPTS / 'segmentation_node').resolve()
        assert path.stat().st_mode & 0o111


def test_the_overview_lists_every_command(capsys):
    assert main(['--help']) == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in COMMANDS)


def test_unknown_commands_are_refused(capsys):
    assert main(['trian']) == 2
    assert "unknown command 'trian'; available:" in capsys.readouterr().err


def test_bad_input_ends_with_one_line_and_status_2(capsys, tmp_path):
    out = ['--out', str(tmp_path / 'out')]
    assert main(['demo', '--bag', str(tmp_path / 'none'), '--model', str(tmp_path), *out]) == 2
    assert capsys.readouterr().err.startswith(f"demo: no model '{tmp_path}'")


def test_settings_may_stand_on_both_sides_of_an_option(monkeypatch):
    seen = []
    monkeypatch.setattr(train, 'run', lambda args: seen.append(args) or 0)
    assert main(['train', 'seed=1', '--config', 'x', 'data=y', '--quiet', 'name=z']) == 0
    assert seen[0].overrides == ['seed=1', 'data=y', 'name=z']
    assert (seen[0].config, seen[0].quiet) == ('x', True)
