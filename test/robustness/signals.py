"""Signals at any moment of a node's life: each must end it, in time and in order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from hypothesis import strategies as st
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from test.conftest import stripes
from test.node.conftest import TIMEOUT_S, Robot, image_message, wait_for
from test.robustness.faulty_models import write_slow_model
from test.robustness.tally import Tally, draw_cases

_NODE = '/signals/segmentation'
ENDS_WITHIN_S = 15.0
_STARTS_WITHIN_S = 30.0
_FAULTS = ('Traceback', 'terminate called', 'Fatal Python error', 'Segmentation fault')
_NUMBERS = st.sampled_from([signal.SIGINT, signal.SIGTERM])

# When, a delay after it in seconds, and the signals.
moments = st.tuples(
    st.sampled_from(['start', 'active', 'frame', 'reload', 'reload', 'frame and reload']),
    st.floats(0, 0.5),
    st.lists(_NUMBERS, min_size=1, max_size=3),
)


def fuzz_signals(folder: Path, cases: int, backend: str) -> Tally:
    """Send drawn signals to a node at drawn moments; the engine is a real one that takes time."""
    model = write_slow_model(folder / 'slow', layers=24, width=64)
    tally = Tally(f'signals, {backend}')
    robot = Robot()
    command = [sys.executable, '-m', 'seg_ros', 'segmentation_node', '--ros-args']
    command += ['-r', '__ns:=/signals', '-p', f'model:={model}', '-p', f'backend:={backend}']

    def check(case: tuple[str, float, list[int]]) -> str | None:
        moment, delay_s, numbers = case
        with _killed(subprocess.Popen(command, stderr=subprocess.PIPE, text=True)) as process:
            _wait_until_signals_are_taken(process.pid)
            if moment != 'start':
                _wait_until_active(robot)
            if 'frame' in moment:
                _send_frame(robot)
            if 'reload' in moment:
                _reload(robot)
            time.sleep(delay_s)
            for number in numbers:
                process.send_signal(number)
            _, said = process.communicate(timeout=ENDS_WITHIN_S)
            return _wrong(process.returncode, said)

    try:
        robot.node.create_subscription(Image, f'{_NODE}/label_mask', lambda _: None, 1)
        return draw_cases(tally, moments, cases, check, hang_s=_STARTS_WITHIN_S + ENDS_WITHIN_S)
    finally:
        robot.close()


def _wrong(status: int, said: str) -> str | None:
    """What is wrong with an end; None for a good one."""
    if fault := next((text for text in _FAULTS if text in said), None):
        return f'{fault} on the way out'
    return None if status == os.EX_OK else f'status {status}'


@contextlib.contextmanager
def _killed(process: subprocess.Popen[str]):
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _wait_until_signals_are_taken(pid: int) -> None:
    """Leave out Python's own start: it has a handler for SIGINT, the node one for SIGTERM, too."""
    wait_for(lambda: _catches(pid, signal.SIGTERM), what='a handler for SIGTERM')


def _catches(pid: int, number: int) -> bool:
    lines = Path(f'/proc/{pid}/status').read_text(encoding='utf-8').splitlines()
    (caught,) = (line.split()[1] for line in lines if line.startswith('SigCgt:'))
    return bool(int(caught, 16) >> (number - 1) & 1)


def _wait_until_active(robot: Robot) -> None:
    robot.diagnostics(_NODE, lambda values: values.get('state') != 'inactive')


def _send_frame(robot: Robot) -> None:
    camera = robot.camera('/signals/image')
    camera.publish(image_message(stripes()[0], robot.header()))
    robot.node.destroy_publisher(camera)


def _reload(robot: Robot) -> None:
    client = robot.node.create_client(Trigger, f'{_NODE}/reload_model')
    if not client.wait_for_service(TIMEOUT_S):
        raise RuntimeError('no service to reload the model')
    client.call_async(Trigger.Request())
    robot.node.destroy_client(client)
