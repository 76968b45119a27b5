"""Launch files run as on a robot: by the ``ros2`` of a distribution, whose Python is not ours."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
IN_VENV = sys.prefix != sys.base_prefix


def outside_venv(paths):
    """Entries of PATH or PYTHONPATH that this Python's venv did not add."""
    entries = [entry for entry in paths.split(os.pathsep) if entry]
    return [e for e in entries if not (IN_VENV and Path(e).is_relative_to(sys.prefix))]


@pytest.fixture(scope='session')
def distribution(tmp_path_factory):
    """Environment of a shell that sourced a distribution and a workspace, but activated no venv.

    The workspace is this checkout, laid out as colcon would install it from the venv of the tests.
    """
    env = dict(os.environ)
    env['PATH'] = os.pathsep.join(outside_venv(env['PATH']))
    if shutil.which('ros2', path=env['PATH']) is None:
        pytest.skip('no ros2 on PATH: source the setup.bash of a ROS distribution')
    prefix = tmp_path_factory.mktemp('install') / 'seg_ros'
    share = prefix / 'share' / 'seg_ros'
    share.mkdir(parents=True)
    for name in ('launch', 'config', 'models'):
        shutil.copytree(ROOT / name, share / name, copy_function=os.symlink)
    (share / 'package.xml').symlink_to(ROOT / 'package.xml')
    if IN_VENV:
        (share / 'venv').write_text(sys.prefix)
    (prefix / 'lib').mkdir()
    (prefix / 'lib' / 'seg_ros').symlink_to(ROOT / 'scripts')
    register(prefix, 'seg_ros')
    env.pop('VIRTUAL_ENV', None)
    python_path = [str(ROOT), *outside_venv(env.get('PYTHONPATH', ''))]
    env['PYTHONPATH'] = os.pathsep.join(python_path)
    env['AMENT_PREFIX_PATH'] = os.pathsep.join([str(prefix), env['AMENT_PREFIX_PATH']])
    env['ROS_LOG_DIR'] = str(tmp_path_factory.mktemp('log'))
    return env


def register(prefix, package):
    """Let ament find a package in a prefix."""
    index = prefix / 'share' / 'ament_index' / 'resource_index' / 'packages'
    index.mkdir(parents=True, exist_ok=True)
    (index / package).touch()


@pytest.fixture
def stand_in(distribution, tmp_path, monkeypatch):
    """Put a Python script in the place of a package's executable."""

    def install(package, executable, code):
        script = tmp_path / 'stand_in' / 'lib' / package / executable
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f'#!/usr/bin/env python3\n{code}')
        script.chmod(0o755)
        register(tmp_path / 'stand_in', package)
        if package == 'seg_ros':  # the rest of it stays
            prefix = Path(distribution['AMENT_PREFIX_PATH'].split(os.pathsep)[0])
            (tmp_path / 'stand_in' / 'share' / package).symlink_to(prefix / 'share' / package)
            for other in (prefix / 'lib' / package).iterdir():
                if other.name != executable:
                    (script.parent / other.name).symlink_to(other)
        path = f'{tmp_path / "stand_in"}{os.pathsep}{distribution["AMENT_PREFIX_PATH"]}'
        monkeypatch.setitem(distribution, 'AMENT_PREFIX_PATH', path)

    return install


@pytest.fixture
def params_file(tmp_path, primary_model):
    """Write a parameter file of the tiny model."""

    def write(**parameters):
        file = tmp_path / 'params.yaml'
        values = {'model': str(primary_model), 'backend': 'onnxruntime', **parameters}
        file.write_text(yaml.safe_dump({'/**': {'ros__parameters': values}}))
        return file

    return write


class Launch:
    """A running ``ros2 launch`` and what it printed so far."""

    def __init__(self, process, output):
        self.process, self._output = process, output

    @property
    def text(self):
        return self._output.read_text()

    def wait(self, timeout_s=60):
        """Status and text at the end."""
        status = self.process.wait(timeout=timeout_s)
        return status, self.text

    def interrupt(self, timeout_s=30):
        """End it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        return self.wait(timeout_s)


@pytest.fixture
def ros2_launch(distribution, tmp_path):
    """Start ``ros2 launch`` on a file of the package or on a path."""
    started = []

    def start(file, *, environment=None, **arguments):
        output = tmp_path / f'output_{len(started)}.txt'
        where = [str(file)] if Path(file).is_absolute() else ['seg_ros', file]
        with output.open('w') as stream:
            process = subprocess.Popen(
                ['ros2', 'launch', *where, *(f'{n}:={v}' for n, v in arguments.items())],
                env={**distribution, **(environment or {})},
                cwd=tmp_path,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        return Launch(process, output)

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)
