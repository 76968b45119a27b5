"""In which Python the executables for ros2 run and launch start."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = Path(sys.base_prefix) / 'bin' / 'python3'


@pytest.fixture
def installed(tmp_path):
    """An executable as colcon installs it, built in a venv whose Python says that it was used."""
    venv, prefix = tmp_path / 'venv', tmp_path / 'install' / 'seg_ros'
    for folder in (venv / 'bin', prefix / 'lib' / 'seg_ros', prefix / 'share' / 'seg_ros'):
        folder.mkdir(parents=True)
    python = venv / 'bin' / 'python3'
    python.write_text('#!/bin/sh\necho "in the venv: $@"\n')
    python.chmod(0o755)
    (venv / 'pyvenv.cfg').touch()
    (prefix / 'share' / 'seg_ros' / 'venv').write_text(f'{venv}\n')
    executable = prefix / 'lib' / 'seg_ros' / 'bag_topics'
    shutil.copy(ROOT / 'scripts' / 'bag_topics', executable)
    return executable, venv


def run(python, executable, *arguments, python_path=ROOT):
    paths = [str(python_path), str(ROOT), os.environ.get('PYTHONPATH', '')]
    return subprocess.run(
        [python, executable, *arguments],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_outside_a_venv_the_one_of_the_build_takes_over(installed):
    executable, _ = installed
    done = run(OUTSIDE, executable, 'drive', '--start', '1')
    assert done.stdout == f'in the venv: {executable} drive --start 1\n'


def test_outside_a_venv_the_one_that_pip_installed_into_takes_over(installed):
    executable, venv = installed
    script = venv / 'lib' / 'seg_ros' / 'bag_topics'
    script.parent.mkdir(parents=True)
    shutil.copy(executable, script)
    assert run(OUTSIDE, script, 'drive').stdout == f'in the venv: {script} drive\n'


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason='this Python is none of a venv')
def test_an_activated_venv_is_kept(installed):
    executable, _ = installed
    done = run(sys.executable, executable, '--help')
    assert 'usage: python -m seg_ros bag_topics' in done.stdout


def test_a_venv_that_is_gone_is_passed_over(installed):
    executable, venv = installed
    shutil.rmtree(venv)
    done = run(OUTSIDE, executable, '--help')
    assert 'in the venv' not in done.stdout
    assert 'No such file' not in done.stderr


def test_what_is_missing_is_named_together_with_the_python(installed, tmp_path):
    executable, _ = installed
    missing = "raise ModuleNotFoundError(\"No module named 'yaml'\", name='yaml')"
    (tmp_path / 'yaml.py').write_text(missing)
    (executable.parents[2] / 'share' / 'seg_ros' / 'venv').unlink()
    done = run(sys.executable, executable, 'drive', python_path=tmp_path)
    assert done.returncode == os.EX_CONFIG
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"No module named 'yaml', in {sys.executable}: activate the venv")


COLCON = ['build', 'install', '--record', 'log']
COLCON_SYMLINK = ['develop', '--editable', 'symlink_data']


@pytest.mark.parametrize(
    ('arguments', 'activated', 'executable', 'noted'),
    [
        (COLCON, 'activated', 'usr/bin/python3', 'activated'),
        (COLCON_SYMLINK, 'activated', 'usr/bin/python3', 'activated'),
        (COLCON, '', 'called/bin/python3', 'called'),  # ~/venv/bin/colcon build
        (COLCON, '', 'usr/bin/python3', 'usr'),  # no venv: nothing is handed over
        (['bdist_wheel'], 'activated', 'usr/bin/python3', ''),  # may be installed elsewhere
    ],
)
def test_colcon_notes_the_venv_that_it_builds_in(
    tmp_path, monkeypatch, arguments, activated, executable, noted
):
    found = {}
    (tmp_path / 'scripts').mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('VIRTUAL_ENV', activated)
    monkeypatch.setattr('setuptools.setup', lambda **given: found.update(given))
    monkeypatch.setattr(sys, 'argv', ['setup.py', *arguments])
    monkeypatch.setattr(sys, 'executable', str(tmp_path / executable))
    monkeypatch.setattr(sys, 'prefix', str(tmp_path / 'install'))  # as colcon does
    runpy.run_path(str(ROOT / 'setup.py'))
    notes = [name for _, names in found['data_files'] for name in names if 'venv' in name]
    content = [Path(name).read_text().strip() for name in notes]
    expected = noted if noted == activated else str(tmp_path / noted)
    assert content == ([expected] if noted else [])
