"""The launch file of the node, run as a user runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from test.conftest import stripes
from test.evaluation.conftest import IMAGE_TOPIC, build_bag
from test.launch.test_evaluate_launch import ROS2
from test.node.conftest import (
    _ros_context,  # noqa: F401 - a fixture
    image_message,
    robot,  # noqa: F401 - a fixture
    wait_for,
)

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
        model=primary_model,
        backend='onnxruntime',
    )  # the bag's only image topic is found, and that it is compressed
    deadline = time.monotonic() + 60
    while 'messages played' not in output.read_text() and time.monotonic() < deadline:
        time.sleep(0.2)
    text = output.read_text()
    assert 'ready after' in text
    assert 'not all subscribers came' not in text
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    assert output.read_text().count('process has finished cleanly') == 2


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'bag': 'WRONG'}, 'no bag at WRONG'),
        ({'image_topics': '/other'}, f"topic '/other' is not in it. Its topics: {IMAGE_TOPIC}"),
        ({'params_file': 'WRONG'}, 'params_file:=WRONG: no such file'),
    ],
)
def test_a_wrong_input_ends_the_launch_before_anything_starts(
    launch, tmp_path, arguments, message
):
    bag = build_bag(1).save(tmp_path / 'drive')
    process, output = launch(**{'bag': bag, **arguments})
    assert process.wait(timeout=60) == 1
    assert message in output.read_text()
    assert 'process started' not in output.read_text()


def test_everything_ends_where_the_bag_breaks_off(launch, tmp_path, primary_model):
    bag = build_bag(200).save(tmp_path / 'drive')
    (storage,) = bag.glob('*.mcap')
    content = bytearray(storage.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = b'\xff' * 4000
    storage.write_bytes(content)
    process, output = launch(bag=bag, model=primary_model, backend='onnxruntime')
    assert process.wait(timeout=90) == 1
    assert 'the bag was not played' in output.read_text()


def labels_of_new_frames(robot, camera, mask):  # noqa: F811
    """Send frames until labels of one of them come."""
    robot.received[mask].clear()

    def answered():
        camera.publish(image_message(stripes()[0], robot.header()))
        time.sleep(0.05)
        return robot.received[mask]

    return wait_for(answered, 60, f'labels on {mask}')


def test_a_killed_node_comes_back_and_goes_on(robot, launch, primary_model):  # noqa: F811
    process, output = launch(
        namespace='again', image_topics='image', model=primary_model, backend='onnxruntime'
    )
    mask, camera = '/again/segmentation/label_mask', robot.camera('/again/image', wait=False)

    def pids():
        found = re.findall(
            r'segmentation_node-1\]: process started with pid \[(\d+)', output.read_text()
        )
        return [int(pid) for pid in found]

    wait_for(pids, 60, 'a node')
    wait_for(camera.get_subscription_count, 60, 'an active node')
    robot.listen(mask)
    labels_of_new_frames(robot, camera, mask)
    for count in (1, 2):
        os.kill(pids()[-1], signal.SIGKILL)
        wait_for(lambda count=count: len(pids()) > count, 60, 'another node')
        labels_of_new_frames(robot, camera, mask)
    assert process.poll() is None


CAMERA = """#!{python}
import sys, rclpy
from sensor_msgs.msg import Image
rclpy.init(args=sys.argv)
node = rclpy.create_node('driver')
publisher = node.create_publisher(Image, 'image_raw', 1)
image = Image(height=48, width=64, step=192, encoding='rgb8', data=bytes(48 * 192))
node.create_timer(0.1, lambda: publisher.publish(image))
try:
    rclpy.spin(node)
except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
    pass
"""


def test_a_camera_publishes_what_the_parameter_file_names(
    robot,  # noqa: F811
    launch,
    tmp_path,
    primary_model,
    monkeypatch,
):
    """A stand-in for the driver, found as a driver is found; it shows that names are handed on."""
    index = tmp_path / 'share/ament_index/resource_index/packages/usb_cam'
    driver = tmp_path / 'lib/usb_cam/usb_cam_node_exe'
    for file in (index, driver):
        file.parent.mkdir(parents=True)
    index.touch()
    driver.write_text(CAMERA.format(python=sys.executable))
    driver.chmod(0o755)
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{os.environ["AMENT_PREFIX_PATH"]}:{tmp_path}')
    parameters = {'model': str(primary_model), 'image_topics': ['front/image_raw']}
    params_file = tmp_path / 'params.yaml'
    params_file.write_text(yaml.safe_dump({'/**': {'ros__parameters': parameters}}))
    launch(camera='usb_cam', params_file=params_file, namespace='rig', backend='onnxruntime')
    robot.listen('/rig/segmentation/label_mask')
    wait_for(lambda: robot.received['/rig/segmentation/label_mask'], 60, 'labels')
    assert robot.node.count_publishers('/rig/front/image_raw') == 1


def test_nothing_is_left_running_where_rviz_is_missing(launch):
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        get_package_prefix('rviz2')
    except PackageNotFoundError:
        process, output = launch(rviz='true')
        assert process.wait(timeout=60) == 1
        assert "rviz:=true needs the package 'rviz2'" in output.read_text()
        assert 'process started' not in output.read_text()
    else:
        pytest.skip('rviz2 is installed')
