"""The launch file of the node, run as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from test.evaluation.conftest import IMAGE_TOPIC, build_bag
from test.launch.test_evaluate_launch import ROS2

LAUNCH_FILE = Path(__file__).resolve().parents[2] / 'launch' / 'robocup.launch.py'

pytestmark = pytest.mark.ros
pytest.importorskip('launch_ros', reason='launch_ros is not installed')
pytest.importorskip('ros2launch', reason='ros2launch is not installed')


@pytest.fixture
def launch(tmp_path):
    """Start the launch file; what it prints is in the file that comes with the process."""
    started = []

    def start(**arguments):
        listed = [f'{name}:={value}' for name, value in arguments.items()]
        output = tmp_path / 'output.txt'
        with output.open('w') as file:
            process = subprocess.Popen(
                [sys.executable, '-c', ROS2, 'launch', str(LAUNCH_FILE), *listed],
                env={**os.environ, 'ROS_LOG_DIR': str(tmp_path / 'log')},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        return process, output

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)


def test_a_bag_is_played_into_the_node_and_one_interrupt_ends_both(
    launch, tmp_path, primary_model
):
    process, output = launch(
        bag=build_bag(4).save(tmp_path / 'drive'),
        image_topics=IMAGE_TOPIC.removesuffix('/compressed'),
        image_transport='compressed',
        model=primary_model,
        backend='onnxruntime',
    )
    deadline = time.monotonic() + 60
    while 'messages played' not in output.read_text() and time.monotonic() < deadline:
        time.sleep(0.2)
    text = output.read_text()
    assert 'ready after' in text
    assert 'not all subscribers came' not in text
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    assert output.read_text().count('process has finished cleanly') == 2


def test_nothing_is_left_running_where_rviz_is_missing(launch):
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        get_package_prefix('rviz2')
    except PackageNotFoundError:
        process, output = launch(rviz='true')
        assert process.wait(timeout=60) == 1
        assert "package 'rviz2' not found" in output.read_text()
        assert 'process started' not in output.read_text()
    else:
        pytest.skip('rviz2 is installed')
