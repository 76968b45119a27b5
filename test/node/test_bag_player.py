"""The player in a process of its own; the test listens byte for byte."""

from __future__ import annotations

import re
import signal
import time

import pytest

from seg_ros.bags import Bag
from test.evaluation.conftest import IMAGE_TOPIC, LABEL_TOPIC, START_NS, build_bag
from test.node.conftest import wait_for
from test.node.test_evaluation_node import process

rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed')

from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import CompressedImage  # noqa: E402

pytestmark = pytest.mark.ros


@pytest.fixture
def bag(tmp_path):
    """Eight frames within 0.7 s."""
    return build_bag(8).save(tmp_path / 'drive')


class Listener:
    """Keeps serialised images with their arrival, and the clock."""

    def __init__(self, robot):
        self.images, self.clock = [], []
        robot.node.create_subscription(CompressedImage, IMAGE_TOPIC, self._keep, 50, raw=True)
        robot.node.create_subscription(Clock, '/clock', self.clock.append, 500)

    def _keep(self, data):
        self.images.append((time.monotonic(), data))


def test_messages_arrive_as_they_were_recorded_at_the_wanted_rate(bag, robot):
    listener = Listener(robot)
    with process('bag_player', bag, '--rate', 0.5, '--topics', IMAGE_TOPIC) as player:
        assert player.wait(timeout=20) == 0
    wait_for(lambda: len(listener.images) == 8, what='all images')
    with Bag(bag) as recorded:
        sent = [message.data for message in recorded.read_messages([IMAGE_TOPIC])]
    for expected, (_, data) in zip(sent, listener.images, strict=True):
        assert data[: len(expected)] == expected
        assert not data[len(expected) :].strip(b'\0')  # DDS pads to four bytes
    spans = listener.images[-1][0] - listener.images[0][0]
    assert spans == pytest.approx(1.4, abs=0.3)


def test_playing_waits_for_as_many_subscribers_as_it_is_told(bag, robot):
    first = Listener(robot)
    arguments = ['--subscribers', 2, '--wait', 30, '--topics', IMAGE_TOPIC]
    with process('bag_player', bag, *arguments) as player:
        wait_for(lambda: robot.node.count_publishers(IMAGE_TOPIC), what='the player')
        time.sleep(1.5)  # three times what it waits for further subscribers
        assert not first.images
        second = Listener(robot)
        assert player.wait(timeout=30) == 0
    for listener in (first, second):
        wait_for(lambda each=listener: len(each.images) == 8, what='every image')


def test_playing_begins_when_any_topic_has_its_subscribers_if_so_asked(bag, robot):
    listener = Listener(robot)  # nobody takes the labels
    arguments = ['--any-topic', '--wait', 120, '--topics', IMAGE_TOPIC, LABEL_TOPIC]
    with process('bag_player', bag, *arguments) as player:
        assert player.wait(timeout=60) == 0
    wait_for(lambda: len(listener.images) == 8, what='every image')


def test_start_leaves_out_the_beginning_and_the_clock_runs_on(bag, robot):
    listener = Listener(robot)
    arguments = ['--start', 0.35, '--clock', 100, '--topics', IMAGE_TOPIC]
    with process('bag_player', bag, *arguments) as player:
        assert player.wait(timeout=20) == 0
    wait_for(lambda: len(listener.images) == 4, what='the last four images')
    times = [message.clock.sec * 10**9 + message.clock.nanosec for message in listener.clock]
    assert times == sorted(times)
    assert len(times) > 8  # ticks between the images, too: 35 at 100 Hz, fewer on a busy machine
    assert times[0] >= START_NS + 350_000_000
    assert times[-1] == START_NS + 700_000_000


def test_loop_plays_again_until_a_signal(bag, robot):
    listener = Listener(robot)
    arguments = ['--loop', '--rate', 4, '--topics', IMAGE_TOPIC]
    with process('bag_player', bag, *arguments) as player:
        wait_for(lambda: len(listener.images) > 17, what='a third round')
        player.send_signal(signal.SIGTERM)
        assert player.wait(timeout=10) == 0


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--topics', '/wrong'], f"'/wrong' is not in it.*{LABEL_TOPIC}"),
        (['--rate', '0'], 'rate is 0.0'),
        (['--start', '-1'], 'start is -1.0'),
        (['--topics', IMAGE_TOPIC, '--subscribers', '2', '1'], '2 numbers .* for 1 topics'),
    ],
)
def test_bad_input_is_one_clear_line(bag, arguments, message):
    with process('bag_player', bag, '--wait', 0, *arguments) as player:
        _, error = player.communicate(timeout=20)
        assert player.returncode == 2
    assert re.search(message, error), error
