"""The calls of Nav2's lifecycle manager, in its order, and the bond by which it watches a node.

For each of its commands the manager calls ``change_state`` with the id of a transition, then
``get_state``, and gives up unless the answer is the state that belongs to the transition
(nav2_lifecycle_manager, ``changeStateForNode``).
"""

from __future__ import annotations

import contextlib
import os
import signal

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from std_msgs.msg import String

from test.conftest import stripes
from test.node.conftest import image_message, node_process, wait_for

pytestmark = pytest.mark.ros

NODE, MASK = '/own/segmentation', '/own/segmentation/label_mask'
CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
DEACTIVATE, CLEANUP = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP
SHUTDOWN = Transition.TRANSITION_UNCONFIGURED_SHUTDOWN
GOALS = {
    CONFIGURE: State.PRIMARY_STATE_INACTIVE,
    ACTIVATE: State.PRIMARY_STATE_ACTIVE,
    DEACTIVATE: State.PRIMARY_STATE_INACTIVE,
    CLEANUP: State.PRIMARY_STATE_UNCONFIGURED,
    SHUTDOWN: State.PRIMARY_STATE_FINALIZED,
}
STARTUP, RESET = (CONFIGURE, ACTIVATE), (DEACTIVATE, CLEANUP)
PAUSE, RESUME = (DEACTIVATE,), (ACTIVATE,)

# What a bond tells is told on topics here: bondpy comes with distributions only.
FAKE_BOND = """
from std_msgs.msg import String

class Bond:
    def __init__(self, node, topic, bond_id, on_broken=None, on_formed=None):
        self.node, self.what = node, f'{topic} {bond_id}'
        node.told = getattr(node, 'told', None) or node.create_publisher(String, '/bonds', 100)
        self.heartbeat_period, self.heartbeat_timeout = 1.0, 4.0

    def start(self):
        self.tell(f'started {self.what} {self.heartbeat_period} {self.heartbeat_timeout}')

    def shutdown(self):
        self.tell(f'ended {self.what}')

    def tell(self, text):
        self.node.told.publish(String(data=text))
"""


class Manager:
    """Does what Nav2's lifecycle manager does to one node."""

    def __init__(self, robot):
        self._robot = robot

    def command(self, *transitions):
        """Whether the manager would call its command a success."""
        return all(self.change(transition) for transition in transitions)

    def change(self, transition):
        request = ChangeState.Request()
        request.transition.id = transition
        if not self._robot.call(ChangeState, f'{NODE}/change_state', request).success:
            return False
        answer = self._robot.call(GetState, f'{NODE}/get_state', GetState.Request(), attempts=4)
        return answer.current_state.id == GOALS[transition]


@pytest.fixture
def manager(robot):
    return Manager(robot)


@contextlib.contextmanager
def node(model, **parameters):
    with node_process('/own', model=model, backend='onnxruntime', **parameters) as process:
        yield process


def assert_labels_come(robot):
    robot.received[MASK].clear()
    subscription = robot.listen(MASK)
    camera = robot.camera('/own/image')
    robot.ask(camera, image_message(stripes()[0], robot.header()), MASK)
    robot.node.destroy_publisher(camera)
    robot.node.destroy_subscription(subscription)


@pytest.mark.parametrize('autostart', [False, True])
def test_every_command_of_the_manager_succeeds(robot, manager, primary_model, autostart):
    with node(primary_model, autostart=autostart) as process:
        if autostart:  # the manager may come while the node starts itself, or later
            wait_for(lambda: robot.state(NODE) == 'active', what='the autostart')
        assert manager.command(*STARTUP)
        assert_labels_come(robot)
        assert manager.command(*PAUSE)
        assert manager.command(*RESUME)
        assert_labels_come(robot)
        assert manager.command(*RESET)
        assert manager.command(*STARTUP)
        assert_labels_come(robot)
        assert manager.command(*RESET, SHUTDOWN)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        process.poll = lambda: None  # it ended on purpose


def test_a_manager_that_comes_while_the_node_starts_itself_takes_it_over(
    robot, manager, primary_model
):
    with node(primary_model):
        assert manager.command(*STARTUP)  # the first call waits for the node
        assert_labels_come(robot)


def test_a_second_configure_of_an_active_node_fails_as_it_must(robot, manager, primary_model):
    with node(primary_model):
        assert manager.command(*STARTUP)
        assert not manager.command(CONFIGURE)
        assert robot.state(NODE) == 'active'
        assert_labels_come(robot)


def test_a_bond_is_formed_with_a_manager_and_ends_with_its_command(
    robot, manager, primary_model, tmp_path, monkeypatch
):
    package = tmp_path / 'bondpy'
    package.mkdir()
    (package / '__init__.py').touch()
    (package / 'bondpy.py').write_text(FAKE_BOND)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get('PYTHONPATH'))))
    monkeypatch.setenv('PYTHONPATH', path)
    robot.node.create_subscription(String, '/bonds', robot.received['/bonds'].append, 100)

    def told():
        return [message.data for message in robot.received['/bonds']]

    started, ended = 'started bond segmentation 0.25 4.0', 'ended bond segmentation'
    with node(primary_model):
        wait_for(lambda: robot.state(NODE) == 'active', what='the autostart')
        assert not robot.node.count_publishers('/bonds')  # nobody would answer it
        assert manager.command(*STARTUP)
        wait_for(lambda: robot.node.count_publishers('/bonds'), what='a bond')
        assert manager.command(*PAUSE)
        wait_for(lambda: ended in told(), what='the end of a bond')
        robot.received['/bonds'].clear()
        assert manager.command(*RESUME)
        wait_for(lambda: told() == [started], what='a bond')
        assert manager.command(*RESET)
        wait_for(lambda: told() == [started, ended], what='its end')


def test_without_bondpy_the_manager_is_told_what_it_needs(robot, manager, primary_model, capfd):
    with node(primary_model, autostart=False):
        assert manager.command(*STARTUP)
        assert_labels_come(robot)
    assert 'a lifecycle manager of Nav2 needs bond_timeout: 0.0' in capfd.readouterr().err
