"""A net that needs seconds for a frame: nothing else may wait for it."""

from __future__ import annotations

import itertools
import time
from collections import Counter

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.srv import GetAvailableStates, GetAvailableTransitions, GetState
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    GetParameterTypes,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.parameter import Parameter
from std_msgs.msg import Float64
from std_srvs.srv import SetBool

from test.conftest import stripes
from test.node.conftest import header_now, image_message, node_process, wait_for
from test.robustness.faulty_models import write_slow_model
from test.robustness.live_frames import settled

pytestmark = pytest.mark.ros

NODE, MASK = '/slow/segmentation', '/slow/segmentation/label_mask'
PARAMETERS = {'backend': 'onnxruntime', 'num_threads': 1, 'error_stalled_s': 0.1}
INFERENCE_TIME = f'{NODE}/debug/inference_time_ms'
NAMES, ALPHA = ['model'], [Parameter('overlay_alpha', value=0.4).to_parameter_msg()]
REQUESTS = {
    'get_parameters': (GetParameters, {'names': NAMES}),
    'get_parameter_types': (GetParameterTypes, {'names': NAMES}),
    'describe_parameters': (DescribeParameters, {'names': NAMES}),
    'list_parameters': (ListParameters, {}),
    'set_parameters': (SetParameters, {'parameters': ALPHA}),
    'set_parameters_atomically': (SetParametersAtomically, {'parameters': ALPHA}),
    'get_state': (GetState, {}),
    'get_available_states': (GetAvailableStates, {}),
    'get_available_transitions': (GetAvailableTransitions, {}),
    'get_transition_graph': (GetAvailableTransitions, {}),
    'enable': (SetBool, {'data': True}),
}
# The first waits for the frame in work, the second for another model; the third is rclpy's.
NOT_ASKED = {'change_state', 'reload_model', 'get_type_description'}


@pytest.fixture(scope='module')
def slow(tmp_path_factory):
    model = write_slow_model(tmp_path_factory.mktemp('models') / 'slow', layers=40, width=256)
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


def test_services_answer_again_and_again_while_one_frame_is_worked_on(robot, camera):
    robot.listen(INFERENCE_TIME, Float64)
    clients = {
        name: robot.node.create_client(kind, f'{NODE}/{name}')
        for name, (kind, _) in REQUESTS.items()
    }
    for name, client in clients.items():
        assert client.wait_for_service(20), name
    answers = []
    camera.publish(image_message(stripes()[0], robot.header()))
    for name in itertools.cycle(REQUESTS):
        kind, fields = REQUESTS[name]
        future = clients[name].call_async(kind.Request(**fields))
        wait_for(future.done, what=f'an answer of {name}')
        answers.append((name, time.monotonic()))
        if robot.received[MASK]:
            break
    end_s = time.monotonic()
    took_s = wait_for(lambda: robot.received[INFERENCE_TIME])[0].data / 1e3
    during = Counter(name for name, at_s in answers if end_s - took_s < at_s)
    assert min(during[name] for name in REQUESTS) >= 3, during


def test_no_service_of_the_node_was_left_out(robot, slow):
    def found():
        listed = [name for name, _ in robot.node.get_service_names_and_types()]
        return {name.removeprefix(f'{NODE}/') for name in listed if name.startswith(NODE)}

    wait_for(lambda: found() >= REQUESTS.keys(), what='the services')
    assert found() <= REQUESTS.keys() | NOT_ASKED


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
    robot.ask(camera, image_message(stripes()[0], header), MASK)


def test_diagnostics_tell_that_the_engine_is_stalled(robot, camera):
    for _ in range(20):
        camera.publish(image_message(stripes()[0], robot.header()))
        status, _ = robot.diagnostics(NODE)
        if 'a frame is in work for' in status.message:  # there is an error for slow frames too
            break
    assert 'a frame is in work for' in status.message
    assert status.level == DiagnosticStatus.ERROR
    robot.diagnostics(NODE, settled)  # a node that must end while its engine works leaves with 70
