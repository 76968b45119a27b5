"""How the process ends: with which status, within which time, whatever its engine does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import Log
from std_srvs.srv import Trigger

from test.conftest import stripes, write_primary_model
from test.node.conftest import image_message, wait_for
from test.robustness.faulty_models import write_slow_model
from test.robustness.stalling_node import HANGS_AT

pytestmark = pytest.mark.ros

OWN, MASK = '/own/segmentation', '/own/segmentation/label_mask'
REAL, STALLING = ('seg_ros', 'segmentation_node'), ('test.robustness.stalling_node',)
ENDS_WITHIN_S = 12.0  # 5 s for a frame in work, and a machine that is busy


@contextlib.contextmanager
def started(program, model, *arguments, environment=None, **parameters):
    """A node's process; whatever is left of it is killed."""
    command = [sys.executable, '-m', *program, '--ros-args', '-r', '__ns:=/own']
    for key, value in {'model': model, 'backend': 'onnxruntime', **parameters}.items():
        command += ['-p', f'{key}:={value}']
    process = subprocess.Popen(
        [*command, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def stalls_at(tmp_path, monkeypatch):
    """File that the stand-in for an engine makes before it stalls."""
    monkeypatch.setenv('STALLS_AT', str(tmp_path / 'stalls'))
    return tmp_path / 'stalls'


def end_of(process, timeout_s=ENDS_WITHIN_S):
    """The exit status and what was logged."""
    _, said = process.communicate(timeout=timeout_s)
    assert 'Traceback' not in said, said
    return process.returncode, said


def frame(robot, red=230):
    image = stripes()[0].copy()
    image[0, 0, 0] = red
    return image_message(image, robot.header())


def tasks(process):
    return list(Path(f'/proc/{process.pid}/task').iterdir())


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (['-p', 'min_confidence:=2.0'], 'min_confidence'),
        (['-p', 'model:=nosuch'], "no model 'nosuch'"),
        (['-p', 'require_device:=cuda'], 'cuda'),
        (['-p', 'masks:=[pink]'], "no class 'pink'"),
        (['-p', 'self_mask:=/nowhere.png'], 'no file /nowhere.png'),
        (['-p', 'geometry:=[drivable_edge]'], "a class 'road'"),
        (['--params-file', '/nowhere.yaml'], '/nowhere.yaml'),
        (['-p', 'model:=[a'], 'model:=[a'),
        (['-r', 'x:y'], 'x:y'),
        (['--log-level', 'loud'], 'loud'),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else '',
)
def test_what_the_user_must_mend_ends_the_start_with_78_and_the_reason(
    primary_model, arguments, reason
):
    with started(REAL, primary_model, *arguments) as process:
        status, said = end_of(process, 30)
    assert (status, reason in said) == (os.EX_CONFIG, True), said


@pytest.mark.parametrize('damage', ['graph', 'hash', 'card'])
def test_a_damaged_model_ends_the_start_with_78_and_the_reason(tmp_path, damage):
    model = write_primary_model(tmp_path / 'model')
    if damage == 'graph':
        (model / 'model.onnx').unlink()
    elif damage == 'hash':
        (model / 'model.onnx').write_bytes(b'damaged')
    else:
        (model / 'model.yaml').write_text('- a list', encoding='utf-8')
    with started(REAL, model) as process:
        status, said = end_of(process, 30)
    assert status == os.EX_CONFIG
    assert 'configure failed: ' in said


def test_a_failed_configure_without_autostart_keeps_the_node_and_is_told(robot, primary_model):
    robot.listen('/rosout', Log, latched=True)
    with started(REAL, 'nosuch', autostart='false') as process:
        assert not robot.change_state(OWN, Transition.TRANSITION_CONFIGURE)
        wait_for(lambda: 'configure failed' in str(robot.received['/rosout']), what='the reason')
        status, _ = robot.diagnostics(OWN)
        assert "no model 'nosuch'" in status.message
        assert robot.state(OWN) == 'unconfigured'
        assert robot.set_parameter(OWN, 'model', str(primary_model)) == (True, '')
        assert robot.change_state(OWN, Transition.TRANSITION_CONFIGURE)
        assert robot.change_state(OWN, Transition.TRANSITION_ACTIVATE)
        status, _ = robot.diagnostics(OWN)
        assert 'nosuch' not in status.message
        process.send_signal(signal.SIGINT)
        assert end_of(process)[0] == 0


SIGNALS = pytest.mark.parametrize(
    'numbers',
    [
        (signal.SIGINT,),
        (signal.SIGTERM,),
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGINT, signal.SIGTERM),
    ],
    ids=lambda numbers: '+'.join(number.name for number in numbers),
)


def send(process, numbers):
    for number in numbers:
        process.send_signal(number)


@SIGNALS
@pytest.mark.parametrize('loading', ['hangs', 'slow'])
def test_a_signal_while_the_first_model_loads_ends_the_node_with_0(
    tmp_path, stalls_at, loading, numbers
):
    model = write_primary_model(tmp_path / loading)
    with started(STALLING, model) as process:
        wait_for(stalls_at.exists, what='a load')
        send(process, numbers)
        assert end_of(process)[0] == 0


@SIGNALS
def test_a_signal_while_another_model_loads_ends_the_node_with_0(
    robot, tmp_path, stalls_at, numbers
):
    first = write_primary_model(tmp_path / 'first')
    other = write_primary_model(tmp_path / 'hangs')
    with started(STALLING, first) as process:
        assert robot.set_parameter(OWN, 'model', str(other)) == (True, '')
        wait_for(stalls_at.exists, what='a load')
        send(process, numbers)
        assert end_of(process)[0] == 0


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_an_engine_compiles_ends_the_node_with_0(robot, tmp_path, backend, number):
    """The engine itself, not a stand-in: it must not be torn down while it works."""
    model = write_slow_model(tmp_path / 'model', layers=40, width=64)
    with started(REAL, model, backend=backend) as process:
        robot.diagnostics(OWN, lambda values: values.get('model_name') == 'model')
        client = robot.node.create_client(Trigger, f'{OWN}/reload_model')
        assert client.wait_for_service(20)
        client.call_async(Trigger.Request())
        before = len(tasks(process))
        with contextlib.suppress(pytest.fail.Exception):  # a load may be over at once
            wait_for(lambda: len(tasks(process)) > before, 1)
        process.send_signal(number)
        assert end_of(process)[0] == 0
        robot.node.destroy_client(client)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_hung_engine_does_not_keep_the_process(robot, tmp_path, stalls_at, number):
    model = write_primary_model(tmp_path / 'model')
    with started(STALLING, model) as process:
        robot.listen(MASK)
        camera = robot.camera('/own/image')
        robot.ask(camera, frame(robot), MASK)
        camera.publish(frame(robot, HANGS_AT))
        wait_for(stalls_at.exists, what='a frame in work')
        process.send_signal(number)
        assert end_of(process)[0] == os.EX_SOFTWARE


def test_a_hung_engine_hangs_no_service_and_deactivate_ends_the_process(
    robot, tmp_path, stalls_at
):
    model = write_primary_model(tmp_path / 'model')
    with started(STALLING, model) as process:
        robot.listen(MASK)
        camera = robot.camera('/own/image')
        robot.ask(camera, frame(robot), MASK)
        camera.publish(frame(robot, HANGS_AT))
        wait_for(stalls_at.exists, what='a frame in work')
        assert robot.state(OWN) == 'active'
        assert not robot.change_state(OWN, Transition.TRANSITION_DEACTIVATE)
        status, said = end_of(process)
        assert status == os.EX_SOFTWARE
        assert 'has not come back from a frame for 5 s' in said


def test_ctrl_c_after_a_lifecycle_shutdown_ends_the_node_with_0(robot, primary_model):
    with started(REAL, primary_model) as process:
        assert robot.state(OWN) == 'active'
        assert robot.change_state(OWN, Transition.TRANSITION_ACTIVE_SHUTDOWN)
        assert robot.state(OWN) == 'finalized'
        process.send_signal(signal.SIGINT)
        status, said = end_of(process)
        assert status == 0
        assert 'finalized' in said


@pytest.mark.parametrize('where', ['HOME', 'ROS_LOG_DIR'])
def test_a_home_that_cannot_be_written_costs_the_log_file_only(
    robot, primary_model, tmp_path, where
):
    file = tmp_path / 'no_folder'
    file.write_text('')
    environment = {'HOME': '', 'ROS_LOG_DIR': '', 'ROS_HOME': '', where: str(file / 'below')}
    with started(REAL, primary_model, environment=environment) as process:
        assert wait_for(lambda: robot.state(OWN) == 'active')
        process.send_signal(signal.SIGINT)
        status, said = end_of(process)
        assert (status, 'no log file is written' in said) == (0, True), said


def test_a_full_pipe_that_nobody_reads_costs_lines_and_no_frame(robot, primary_model):
    with started(REAL, primary_model, '--log-level', 'debug') as process:  # stderr is not read
        robot.listen(MASK)
        camera = robot.camera('/own/image')
        robot.ask(camera, frame(robot), MASK)

        def is_full():
            robot.ask(camera, frame(robot), MASK)
            # Frames that are refused have their reason logged.
            broken = frame(robot)
            broken.encoding = 'x' * 4000
            camera.publish(broken)
            return unread_bytes(process.stderr) > 60_000

        wait_for(is_full, 60, what='a full pipe')
        for _ in range(20):
            robot.ask(camera, frame(robot), MASK)
        assert robot.state(OWN) == 'active'
        process.send_signal(signal.SIGTERM)
        assert process.wait(ENDS_WITHIN_S) == 0


def unread_bytes(pipe):
    import fcntl
    import struct
    import termios

    return struct.unpack('i', fcntl.ioctl(pipe, termios.FIONREAD, b'\0' * 4))[0]


def test_the_process_of_a_managed_node_ends_in_time_after_a_slow_frame(robot, tmp_path):
    model = write_slow_model(tmp_path / 'slow', layers=24, width=128)
    with started(REAL, model) as process:
        robot.listen(MASK)
        camera = robot.camera('/own/image')
        camera.publish(frame(robot))
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert end_of(process)[0] == 0
        assert time.monotonic() - began < ENDS_WITHIN_S
