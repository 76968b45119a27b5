"""Diagnostics with limits, honesty about the device, and QoS that does not fit."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import Log
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Float64

from test.conftest import stripes
from test.node.conftest import header_now, image_message, node_process, wait_for
from test.robustness.faulty_models import write_slow_model

pytestmark = pytest.mark.ros

NODE, OWN = '/segmentation', '/own/segmentation'
KEYS = {  # Autoware's names first
    'is_processing_time_ms_in_expected_range', 'processing_time_ms',
    'consecutive_processing_delay_ms', 'preprocess_time_ms', 'inference_time_ms',
    'postprocess_time_ms', 'publish_time_ms', 'received', 'dropped', 'published', 'rejected',
    'stale', 'invalid_px', 'state', 'device', 'backend', 'precision', 'model_name',
    'model_sha256', 'last_stamp_age_ms',
}  # fmt: skip


@pytest.fixture
def camera(robot, segmentation):
    robot.listen(f'{NODE}/label_mask')
    return robot.camera()


def ask(robot, camera, header=None):
    header = header or header_now(robot.node)
    return robot.ask(camera, image_message(stripes()[0], header), f'{NODE}/label_mask')


def test_every_key_is_there_once_a_frame_was_published(robot, camera):
    ask(robot, camera)
    status, values = robot.diagnostics(NODE, lambda v: int(v['published']) > 0)
    assert values.keys() == KEYS
    assert status.hardware_id == values['device'] == 'cpu'
    assert values['is_processing_time_ms_in_expected_range'] == 'True'
    assert float(values['processing_time_ms']) >= float(values['inference_time_ms']) > 0


def test_diagnostics_come_once_a_second(robot, segmentation):
    robot.diagnostics(NODE)
    start = time.monotonic()
    for _ in range(2):
        robot.diagnostics(NODE)
    assert 1.0 < time.monotonic() - start < 4.0


def test_every_step_has_its_debug_topic(robot, camera):
    names = ('processing', 'preprocess', 'inference', 'postprocess', 'publish')
    topics = [f'{NODE}/debug/{name}_time_ms' for name in names]
    topics.append(f'{NODE}/debug/pipeline_latency_ms')
    for topic in topics:
        robot.listen(topic, Float64)

    def values_of_one_frame():
        # The node learns of the listeners one by one, and sends nothing that nobody asked for.
        for topic in topics:
            robot.received[topic].clear()
        ask(robot, camera)
        end = time.monotonic() + 1
        while not all(robot.received[topic] for topic in topics) and time.monotonic() < end:
            time.sleep(0.01)
        return [robot.received[topic][0].data for topic in topics if robot.received[topic]]

    whole, *parts, latency = wait_for(
        lambda: len(found := values_of_one_frame()) == len(topics) and found, what='all values'
    )
    assert 0 < sum(parts) <= whole * 1.01
    assert latency >= whole


@pytest.mark.parametrize(
    ('limits', 'age_s', 'level', 'message'),
    [
        ({'warn_processing_time_ms': 0.0}, 0, DiagnosticStatus.WARN, 'took too long'),
        (
            {'warn_processing_time_ms': 0.0, 'error_consecutive_delay_ms': 0.0},
            0,
            DiagnosticStatus.ERROR,
            'every frame took too long',
        ),
        ({'warn_latency_ms': 5e3}, 60, DiagnosticStatus.WARN, 'labels are 60'),
        ({'error_latency_ms': 5e3}, 60, DiagnosticStatus.ERROR, 'labels are 60'),
        ({'error_latency_ms': 5e3}, -60, DiagnosticStatus.OK, 'segmenting'),
    ],
)
def test_limits_are_parameters(robot, camera, limits, age_s, level, message):
    defaults = {
        'warn_processing_time_ms': 1e6,
        'error_consecutive_delay_ms': 1e6,
        'warn_latency_ms': 0.0,
        'error_latency_ms': 0.0,
    }
    try:
        assert robot.set_parameters(NODE, **{**defaults, **limits}) == (True, '')
        ask(robot, camera, header_now(robot.node, age_s))
        published = int(robot.diagnostics(NODE)[1]['published'])
        assert published
        status, values = robot.diagnostics(NODE)
        assert (status.level, message in status.message) == (level, True)
        in_range = 'warn_processing_time_ms' not in limits
        assert values['is_processing_time_ms_in_expected_range'] == str(in_range)
        assert (float(values['consecutive_processing_delay_ms']) > 0) == (not in_range)
    finally:
        robot.set_parameters(NODE, **defaults)
        robot.set_parameters(NODE, warn_processing_time_ms=200.0, error_consecutive_delay_ms=1e3)
        ask(robot, camera)


def test_a_required_device_that_is_missing_fails_the_transition(robot, primary_model):
    parameters = {'backend': 'onnxruntime', 'require_device': 'cuda'}
    robot.listen('/rosout', Log, latched=True)
    with node_process('/own', model=primary_model, autostart=False, **parameters):
        assert not robot.change_state(OWN, Transition.TRANSITION_CONFIGURE)
        said = wait_for(
            lambda: [m.msg for m in robot.received['/rosout'] if 'configure failed' in m.msg]
        )
        assert 'cuda' in said[-1]
        assert not robot.node.count_publishers(f'{OWN}/label_mask')
        assert robot.set_parameter(OWN, 'require_device', 'cpu') == (True, '')
        assert robot.change_state(OWN, Transition.TRANSITION_CONFIGURE)
        said = wait_for(
            lambda: [m.msg for m in robot.received['/rosout'] if 'ready after' in m.msg]
        )
        assert 'onnxruntime fp32 on cpu' in said[-1]


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_num_threads_caps_the_threads_that_compute(robot, tmp_path, backend):
    """Processor time of every thread while frames are worked on, from /proc."""
    model = write_slow_model(tmp_path / 'slow', layers=30, width=128)
    with node_process('/own', model=model, backend=backend, num_threads=1) as process:
        robot.listen(f'{OWN}/overlay')
        camera = robot.camera('/own/image')
        before = None
        for frame in range(6):
            if frame == 1:
                before = ticks(process.pid)  # after the first frame, which allocates
            header = robot.header()
            camera.publish(image_message(stripes(480, 640)[0], header))
            robot.message_with(f'{OWN}/overlay', header)
        spent = {
            thread: count - before.get(thread, 0) for thread, count in ticks(process.pid).items()
        }
    total = sum(spent.values())
    assert total > 10
    # The worker computes; the executor and DDS take messages.
    assert max(spent.values()) > 0.6 * total, spent


def ticks(pid):
    """Hundredths of a second that each thread of a process has run."""
    found = {}
    for task in Path(f'/proc/{pid}/task').iterdir():
        fields = (task / 'stat').read_text().rpartition(')')[2].split()
        found[task.name] = int(fields[11]) + int(fields[12])
    return found


def test_qos_that_does_not_fit_is_told_with_both_sides_and_the_cure(robot, primary_model):
    robot.listen('/rosout', Log, latched=True)
    parameters = {'input_reliability': 'reliable'}
    with node_process('/own', model=primary_model, backend='onnxruntime', **parameters):
        robot.listen(f'{OWN}/label_mask')
        robot.camera('/own/image', reliable=False, wait=False)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        robot.node.create_subscription(Image, f'{OWN}/label_mask', lambda _: None, latched)

        def said(start):
            return [m.msg for m in robot.received['/rosout'] if m.msg.startswith(start)]

        (text, *_) = wait_for(lambda: said('/own/image: '), what='a word on the input')
        assert 'reliability reliable is asked for and a publisher offers best_effort' in text
        assert 'qos_overrides./own/image.subscription.reliability to best_effort' in text
        (text, *_) = wait_for(lambda: said(f'{OWN}/label_mask: '), what='a word on the output')
        assert 'durability is offered volatile and a subscriber asks for transient_local' in text
        assert f'qos_overrides.{OWN}/label_mask.publisher.durability to transient_local' in text
