"""Real nodes in processes of their own, real DDS between them and the test."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed')

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from rcl_interfaces.srv import SetParametersAtomically  # noqa: E402
from rclpy.duration import Duration  # noqa: E402
from rclpy.exceptions import InvalidHandle  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import (  # noqa: E402
    DurabilityPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from seg_ros.node.runtime import use_large_image_profile  # noqa: E402

TIMEOUT_S = 20.0


def wait_for(condition, timeout_s=TIMEOUT_S, what='condition'):
    """Poll until ``condition()`` is true; fail the test when it does not become so."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    pytest.fail(f'{what} did not come true within {timeout_s:.0f} s')


class Robot:
    """The rest of the robot: publishes images and listens, in the test's process."""

    # Of all robots: a frame that an earlier test left in a node must not look like one of this.
    _seconds = itertools.count(1001)

    def __init__(self):
        self.node = rclpy.create_node('robot')
        self.received = defaultdict(list)
        self._answered = set()  # (camera, topic)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self):
        while not self._stop.is_set():
            # The test's thread may destroy an entity between its listing and its use.
            with contextlib.suppress(InvalidHandle):
                self._executor.spin_once(timeout_sec=0.02)

    def close(self):
        self._stop.set()
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()

    def listen(self, topic, kind=Image, *, reliable=True, latched=False):
        """Subscribe; the messages gather in ``received[topic]``."""
        qos = QoSProfile(
            depth=10,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        subscription = self.node.create_subscription(kind, topic, self.received[topic].append, qos)
        wait_for(lambda: self.node.count_publishers(topic), what=f'a publisher of {topic}')
        return subscription

    def camera(self, topic='/image', kind=Image, *, reliable=True, wait=True):
        """Create an image publisher and wait until the node is connected to it."""
        qos = QoSProfile(
            depth=1,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        )
        publisher = self.node.create_publisher(kind, topic, qos)
        if wait:
            wait_for(publisher.get_subscription_count, what=f'a subscriber of {topic}')
        return publisher

    def header(self):
        """A header that no other message of this process has."""
        header = Header(frame_id='camera_optical')
        header.stamp.sec, header.stamp.nanosec = next(self._seconds), 123_456_789
        return header

    def message_with(self, topic, header, timeout_s=TIMEOUT_S):
        """Wait for the message on ``topic`` that carries ``header``."""
        return wait_for(
            lambda: next((m for m in list(self.received[topic]) if m.header == header), None),
            timeout_s,
            f'an answer on {topic} to stamp {header.stamp.sec}',
        )

    def ask(self, camera, message, topic):
        """Publish a frame and wait for the message on ``topic`` that carries its header.

        A node works for those that it knows to listen, and it may find a listener a little later
        than the listener finds it: until a camera was answered once, its frame is sent again.
        """
        attempts = 1 if (camera, topic) in self._answered else 4
        for _ in range(attempts - 1):
            camera.publish(message)
            with contextlib.suppress(pytest.fail.Exception):
                answer = self.message_with(topic, message.header, TIMEOUT_S / attempts)
                self._answered.add((camera, topic))
                return answer
        camera.publish(message)
        return self.message_with(topic, message.header)

    def call(self, kind, service, request, *, attempts=1):
        """Call a service and wait for its answer.

        A server that has not found a new client yet drops the answer after 100 ms (Fast DDS), so
        what may be asked twice is asked again.
        """
        client = self.node.create_client(kind, service)
        assert client.wait_for_service(TIMEOUT_S), f'no service {service}'
        future = client.call_async(request)
        for _ in range(attempts - 1):
            with contextlib.suppress(pytest.fail.Exception):
                wait_for(future.done, TIMEOUT_S / attempts)
                break
            future = client.call_async(request)
        wait_for(future.done, what=f'an answer of {service}')
        self.node.destroy_client(client)
        return future.result()

    def set_parameter(self, node, name, value):
        """Set a parameter as ``ros2 param set`` does: (successful, reason)."""
        return self.set_parameters(node, **{name: value})

    def set_parameters(self, node, **values):
        """Set parameters at once: (successful, reason)."""
        parameters = [Parameter(name, value=value) for name, value in values.items()]
        request = SetParametersAtomically.Request(
            parameters=[parameter.to_parameter_msg() for parameter in parameters]
        )
        service = f'{node}/set_parameters_atomically'
        answer = self.call(SetParametersAtomically, service, request, attempts=4)
        return answer.result.successful, answer.result.reason

    def change_state(self, node, transition):
        """Ask for a lifecycle transition by id: whether it succeeded."""
        request = ChangeState.Request()
        request.transition.id = transition
        return self.call(ChangeState, f'{node}/change_state', request).success

    def state(self, node):
        answer = self.call(GetState, f'{node}/get_state', GetState.Request(), attempts=4)
        return answer.current_state.label

    def diagnostics(self, node, condition=lambda _values: True):
        """Wait for the next diagnostics of ``node`` whose values fulfil ``condition``."""
        name = f'{node.strip("/")}: segmentation'

        def find():
            for array in list(self.received['/diagnostics']):
                for status in array.status:
                    values = {entry.key: entry.value for entry in status.values}
                    if status.name == name and condition(values):
                        return status, values
            return None

        self.received['/diagnostics'].clear()
        subscription = self.listen('/diagnostics', DiagnosticArray)
        try:
            return wait_for(find, what='such diagnostics')
        finally:
            self.node.destroy_subscription(subscription)


def image_message(rgb, header, encoding='rgb8', padding=0):
    """Wrap (H, W, 3) RGB pixels, each row followed by ``padding`` bytes of rubbish."""
    pixels = {'rgb8': rgb, 'bgr8': rgb[..., ::-1]}[encoding]
    height, width = rgb.shape[:2]
    rows = pixels.reshape(height, width * 3)
    rubbish = np.full((height, padding), 77, np.uint8)
    message = Image(header=header, height=height, width=width, encoding=encoding)
    message.step = width * 3 + padding
    message.data = np.ascontiguousarray(np.hstack([rows, rubbish])).tobytes()
    return message


def header_now(node, age_s=0.0):
    """A header that was stamped ``age_s`` ago by the node's clock."""
    stamp = node.get_clock().now() - Duration(nanoseconds=int(age_s * 1e9))
    return Header(frame_id='camera_optical', stamp=stamp.to_msg())


def labels_of(message):
    """(H, W) array of a label image without padding."""
    dtype = {'mono8': np.uint8, '16SC1': np.int16}[message.encoding]
    assert message.step == message.width * np.dtype(dtype).itemsize
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width)


@pytest.fixture(scope='session', autouse=True)
def _ros_context():
    use_large_image_profile()
    if not rclpy.ok():  # test/robustness shares this fixture
        rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def robot():
    robot = Robot()
    yield robot
    robot.close()


@contextlib.contextmanager
def node_process(namespace, *ros_arguments, **parameters):
    """Run a node in a process of its own; it is ended by SIGINT and must exit with 0.

    ``ros_arguments`` are further ones behind ``--ros-args``, ``parameters`` become ``-p``.
    """
    arguments = [sys.executable, '-m', 'seg_ros', 'segmentation_node', '--ros-args']
    arguments += ['-r', f'__ns:={namespace}', *ros_arguments]
    for key, value in parameters.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        arguments += ['-p', f'{key}:={text}']
    process = subprocess.Popen(arguments, env=dict(os.environ))
    try:
        yield process
    finally:
        alive = process.poll() is None
        process.send_signal(signal.SIGINT)
        try:
            status = process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert alive, f'the node died during the test with status {process.returncode}'
    assert status == 0


@pytest.fixture(scope='module')
def segmentation(primary_model):
    """A node with the tiny model under the default parameters, shared by a module's tests."""
    with node_process('/', model=primary_model, backend='onnxruntime') as process:
        yield process
