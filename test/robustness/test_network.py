"""What every command says to the network: nothing, but the middleware's own on this machine."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from seg_ros.datasets.folder import save_classes_file
from test.conftest import PRIMARY_CLASSES, stripes

_ADDRESS = re.compile(
    r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\("|inet_pton\(AF_INET6, ")([^"]+)'
)
_DNS = 53
# A font cache and logs are no identity.
_HARMLESS = ('.ros/log', '.cache/matplotlib', '.config/matplotlib')
_WATCH = ('strace', '-D', '-f', '--seccomp-bpf', '-qq', '-e', 'signal=none')
_CALLS = ('-e', 'trace=connect,sendto,sendmsg,sendmmsg')


@pytest.fixture(scope='module')
def watcher(tmp_path_factory):
    """Command that runs another one and writes its network calls to a file."""
    log = tmp_path_factory.mktemp('probe') / 'log'
    command = [*_WATCH, *_CALLS, '-o']
    try:
        code = 'import socket; socket.socket(2, 2).connect(("192.0.2.1", 53))'
        subprocess.run(
            [*command, str(log), sys.executable, '-c', code],
            timeout=30,
            check=False,
            stderr=subprocess.DEVNULL,
        )
        assert spoken_to(log) == ['192.0.2.1 port 53']
    except (OSError, subprocess.SubprocessError, AssertionError):
        pytest.skip('strace is missing or may not watch processes here')
    return command


@pytest.fixture
def start(watcher, tmp_path):
    """Start a command of seg_ros under watch, with a new home directory."""
    home = tmp_path / 'home'
    home.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(('XDG_', 'CI', 'PYTEST'))}
    environment = {**kept, 'HOME': str(home), 'OMP_NUM_THREADS': '1'}

    def run(*arguments):
        command = [*watcher, str(tmp_path / 'calls'), sys.executable, '-m', 'seg_ros']
        return subprocess.Popen(
            [*command, *map(str, arguments)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run


def spoken_to(log):
    """Addresses of a trace that are not on this machine, and every name server."""
    found = []
    for port, address in _ADDRESS.findall(log.read_text(encoding='utf-8', errors='replace')):
        place = ipaddress.ip_address(address)
        if int(port) == _DNS or not (place.is_loopback or place.is_multicast):
            found.append(f'{place} port {port}')
    return found


def check_silence(tmp_path):
    assert spoken_to(tmp_path / 'calls') == []
    home = tmp_path / 'home'
    left = [path.relative_to(home).as_posix() for path in home.rglob('*') if path.is_file()]
    assert [name for name in left if not name.startswith(_HARMLESS)] == []


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / 'data'
    image, labels = stripes(96, 128)
    for kind in ('images', 'labels'):
        (folder / kind).mkdir(parents=True)
    for number in range(8):
        noise = np.random.default_rng(number).integers(0, 25, image.shape, np.uint8)
        name = os.fsdecode(b'caf\xe9%d.png' % number)  # of an old camera: no UTF-8
        for kind, pixels in (('images', (image + noise)[..., ::-1]), ('labels', labels)):
            moved = np.roll(pixels, 9 * number, axis=1)
            (folder / kind / name).write_bytes(cv2.imencode('.png', moved)[1].tobytes())
    save_classes_file(folder / 'classes.yaml', PRIMARY_CLASSES)
    return folder


@pytest.mark.parametrize('command', ['predict', 'evaluate', 'quantize'])
def test_commands_speak_to_nobody(start, tmp_path, data, primary_model, command):
    if command == 'quantize' and importlib.util.find_spec('nncf') is None:
        pytest.skip('nncf is not installed')
    report = ['--html', tmp_path / 'report.html', '--model', primary_model]
    calibration = ['--calibration', data / 'images', '--allow-loss', '100']
    arguments = {
        'predict': [data / 'images', '--out', tmp_path / 'out', '--model', primary_model],
        'evaluate': ['--dataset', 'folder', '--root', data, '--split', 'all', *report],
        'quantize': [
            '--model',
            shutil.copytree(primary_model, tmp_path / 'primary'),
            *calibration,
        ],
    }[command]
    process = start(command, *arguments)
    said, _ = process.communicate(timeout=240)
    # nothing in this model can be quantised; what counts is that all of it was loaded
    assert process.returncode == 0 or command == 'quantize', said
    check_silence(tmp_path)


@pytest.mark.slow
def test_training_and_export_speak_to_nobody(start, tmp_path, data):
    settings = {
        'data': data,
        'split.mode': 'random',
        'net': 'fast_scnn',
        'height_px': 64,
        'width_px': 64,
        'stages.0.epochs': 1,
        'stages.0.batch_size': 4,
        'workers': 0,
        'model_dir': tmp_path / 'models',
    }
    texts = [f'{key}={value}' for key, value in settings.items()]
    process = start('train', '--run-folder', tmp_path / 'run', *texts)
    said, _ = process.communicate(timeout=280)
    assert process.returncode == 0, said
    check_silence(tmp_path)
    exported = [tmp_path / 'run', tmp_path / 'again', '--images', data / 'images']
    process = start('export', *exported)
    said, _ = process.communicate(timeout=280)
    assert process.returncode == 0, said
    check_silence(tmp_path)


@pytest.mark.ros
@pytest.mark.parametrize('backend', ['openvino', 'onnxruntime'])
def test_the_node_speaks_to_its_neighbours_only_and_ends_at_once(
    start, tmp_path, primary_model, backend
):
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    parameters = {'model': primary_model, 'backend': backend}
    settings = [f'{key}:={value}' for key, value in parameters.items()]
    process = start('segmentation_node', '--ros-args', '-p', settings[0], '-p', settings[1])
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if 'ready after' in line:
                break
        assert process.poll() is None, ''.join(said)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        process.communicate(timeout=60)
        assert time.monotonic() - began < 8  # a name server that does not answer takes longer
        assert process.returncode == 0
    finally:
        process.kill()
    check_silence(tmp_path)
