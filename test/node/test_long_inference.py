"""A net that needs half a second and more for a frame: nothing else may wait for it."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.srv import GetParameters
from std_srvs.srv import SetBool

from test.conftest import stripes
from test.node.conftest import header_now, image_message, node_process, wait_for
from test.robustness.faulty_models import write_slow_model
from test.robustness.live_frames import settled

pytestmark = pytest.mark.ros

NODE, MASK = '/slow/segmentation', '/slow/segmentation/label_mask'
PARAMETERS = {'backend': 'onnxruntime', 'num_threads': 1, 'error_stalled_s': 0.1}


@pytest.fixture(scope='module')
def slow(tmp_path_factory):
    model = write_slow_model(tmp_path_factory.mktemp('models') / 'slow', layers=30, width=256)
    with node_process('/slow', model=model, **PARAMETERS) as process:
        yield process


@pytest.fixture
def camera(robot, slow):
    wait_for(lambda: robot.state(NODE) == 'active', 60, 'the active node')
    robot.diagnostics(NODE, settled)  # frames of the test before may be in the engine
    robot.listen(MASK)
    return robot.camera('/slow/image')


def counter(robot, name):
    return int(robot.diagnostics(NODE)[1][name])


def test_services_answer_while_a_frame_is_worked_on(robot, camera):
    header = robot.header()
    camera.publish(image_message(stripes()[0], header))
    request = GetParameters.Request(names=['model'])
    for _ in range(3):
        robot.call(GetParameters, f'{NODE}/get_parameters', request)
    assert not robot.received[MASK], 'the services waited for the engine'
    robot.message_with(MASK, header)


def test_a_frame_that_grows_old_in_the_engine_is_not_published(robot, camera):
    published, stale = counter(robot, 'published'), counter(robot, 'stale')
    try:
        assert robot.set_parameter(NODE, 'max_age_s', 0.15) == (True, '')
        camera.publish(image_message(stripes()[0], header_now(robot.node)))
        robot.diagnostics(NODE, lambda v: int(v['stale']) == stale + 1)
    finally:
        robot.set_parameter(NODE, 'max_age_s', 0.0)
    assert counter(robot, 'published') == published
    assert not robot.received[MASK]


def test_a_frame_in_work_is_not_published_once_the_node_is_disabled(robot, camera):
    before = robot.diagnostics(NODE)[1]
    camera.publish(image_message(stripes()[0], robot.header()))
    header = robot.header()
    camera.publish(image_message(stripes()[0], header))  # one is in work, one may wait
    robot.call(SetBool, f'{NODE}/enable', SetBool.Request(data=False))
    seen = len(robot.received[MASK])

    def done(values):
        gone = sum(int(values[k]) - int(before[k]) for k in ('published', 'dropped'))
        return gone == int(values['received']) - int(before['received'])

    robot.diagnostics(NODE, done)
    assert len(robot.received[MASK]) == seen
    robot.call(SetBool, f'{NODE}/enable', SetBool.Request(data=True))
    header = robot.header()
    camera.publish(image_message(stripes()[0], header))
    robot.message_with(MASK, header)


def test_diagnostics_tell_that_the_engine_is_stalled(robot, camera):
    for _ in range(20):
        camera.publish(image_message(stripes()[0], robot.header()))
        status, _ = robot.diagnostics(NODE)
        if status.level == DiagnosticStatus.ERROR:
            break
    assert 'a frame is in work for' in status.message
