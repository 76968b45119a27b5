"""Transitions whose steps fail: what is told, which state is left, how the process ends."""

from __future__ import annotations

import os

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from rclpy.exceptions import InvalidTopicNameException
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from seg_ros.node.config import NodeConfig
from seg_ros.node.lifecycle import HungError, StoppedError, ToldLifecycleNode
from seg_ros.node.segmentation_node import SegmentationNode

pytestmark = pytest.mark.ros

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR
# All that a step may raise: for the user, of rclpy, of a library, of the system.
RAISED = [
    ValueError('no such class'),
    FileNotFoundError('no such file'),
    PermissionError(13, 'Permission denied', 'model.yaml'),
    InvalidTopicNameException('a-b', 'no hyphens', 1),
    RuntimeError('the engine failed'),
    MemoryError(),
    KeyError('name'),
    OSError(28, 'No space left on device'),
]


class Stepper(ToldLifecycleNode):
    """Its steps raise what ``failing`` says, and note that they were taken."""

    def __init__(self):
        super().__init__('stepper')
        self.failing = {}
        self.taken = []

    def _step(self, name):
        self.taken.append(name)
        if name in self.failing:
            raise self.failing[name]
        return f'{name} done'

    def configure(self):
        return self._step('configure')

    def activate(self):
        return self._step('activate')

    def deactivate(self):
        return self._step('deactivate')

    def cleanup(self):
        return self._step('cleanup')


@pytest.fixture
def node():
    node = Stepper()
    yield node
    node.destroy_node()


def real_state(node):
    return node._state_machine.current_state[1]


@pytest.mark.parametrize('error', RAISED, ids=lambda error: type(error).__name__)
def test_whatever_configure_raises_is_told_undone_and_can_be_mended(node, capfd, error):
    node.failing['configure'] = error
    assert node.trigger_configure() == FAILURE
    assert real_state(node) == node.phase == 'unconfigured'
    assert node.taken == ['configure', 'cleanup']
    assert node.refusal.startswith('configure failed: ')
    assert (str(error) or 'MemoryError') in node.refusal
    logged = capfd.readouterr().err
    assert node.refusal in logged
    # A fault of the program has its traceback, a mistake of the user has not.
    is_for_user = isinstance(error, (ValueError, FileNotFoundError, PermissionError))
    assert ('Traceback' in logged) != is_for_user
    node.failing.clear()
    assert node.trigger_configure() == SUCCESS
    assert node.refusal == ''
    assert 'inactive: configure done' in capfd.readouterr().err


@pytest.mark.parametrize('error', RAISED, ids=lambda error: type(error).__name__)
def test_whatever_activate_raises_leaves_the_node_inactive_with_the_reason(node, error):
    node.trigger_configure()
    node.failing['activate'] = error
    assert node.trigger_activate() == FAILURE
    assert real_state(node) == node.phase == 'inactive'
    assert node.taken[-1] == 'deactivate'
    assert node.refusal.startswith('activate failed: ')


@pytest.mark.parametrize('step', ['deactivate', 'cleanup'])
def test_a_step_back_that_fails_once_leads_to_unconfigured(node, step):
    node.trigger_configure()
    node.trigger_activate()
    if step == 'cleanup':
        node.trigger_deactivate()
    failures = iter([RuntimeError('once')])
    original = node._step

    def step_once(name):
        if name == step and (error := next(failures, None)):
            raise error
        return original(name)

    node._step = step_once
    assert getattr(node, f'trigger_{step}')() == ERROR
    assert real_state(node) == node.phase == 'unconfigured'
    assert node.refusal == f'{step} failed: RuntimeError: once'
    assert node.taken[-1] == 'cleanup'


def test_a_node_that_cannot_be_undone_is_finalized_and_told(node):
    node.failing = {'configure': ValueError('first'), 'cleanup': RuntimeError('second')}
    assert node.trigger_configure() == ERROR
    assert real_state(node) == node.phase == 'finalized'
    assert 'second' in node.refusal
    assert node.finish() == 0


@pytest.mark.parametrize(
    ('error', 'status'),
    [
        (ValueError('wrong'), os.EX_CONFIG),
        (FileNotFoundError('missing'), os.EX_CONFIG),
        (PermissionError('closed'), os.EX_CONFIG),
        (RuntimeError('a bug'), os.EX_SOFTWARE),
        (MemoryError(), os.EX_SOFTWARE),
        (TimeoutError('a load that hangs'), os.EX_SOFTWARE),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize('step', ['configure', 'activate'])
def test_a_start_of_its_own_that_fails_ends_the_process(node, step, error, status):
    node.failing[step] = error
    node.drive_itself()
    assert (node.is_done, node.finish()) == (True, status)


def test_a_start_that_a_signal_ends_is_no_failure(node):
    node.failing['configure'] = StoppedError()
    node.drive_itself()
    assert (node.is_done, node.refusal, node.finish()) == (False, '', 0)


def test_a_hung_engine_ends_the_process_whoever_asked(node):
    node.trigger_configure()
    node.trigger_activate()
    node.failing['deactivate'] = HungError('it hangs')
    assert node.trigger_deactivate() == ERROR
    assert (node.is_done, node.finish()) == (True, os.EX_SOFTWARE)


def test_finish_shuts_a_node_down_once_in_every_state():
    for transitions in ([], ['configure'], ['configure', 'activate'], ['shutdown']):
        node = Stepper()
        for transition in transitions:
            getattr(node, f'trigger_{transition}')()
        assert node.finish() == 0
        assert real_state(node) == 'finalized'
        node.destroy_node()


def test_topics_that_the_worker_still_publishes_on_outlive_two_quick_changes(primary_model):
    """All masks, then red alone, then blue alone; the worker has seen the second change only."""
    given = {'model': str(primary_model), 'backend': 'onnxruntime', 'autostart': False}
    node = SegmentationNode(NodeConfig(**given))
    masks = {f'/segmentation/mask/{name}' for name in ('red', 'green', 'blue')}
    try:
        assert node.trigger_configure() == SUCCESS

        def published():
            return masks & {publisher.topic_name for publisher in node.publishers}

        servings = [node._host.serving]
        for name in ('red', 'blue'):
            node._worker.adopt = servings.append  # it is busy with a frame
            assert node.set_parameters([Parameter('masks', value=[name])])[0].successful
        assert published() == masks
        node._on_adopted(servings[1])  # red
        node._retire_topics()
        assert published() == {'/segmentation/mask/red', '/segmentation/mask/blue'}
        node._on_adopted(servings[2])  # blue
        node._retire_topics()
        assert published() == {'/segmentation/mask/blue'}
    finally:
        node.trigger_shutdown()
        node.destroy_node()
