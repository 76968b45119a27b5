"""Load and time: frames at full rate, at five times of it, and a node that is killed meanwhile."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from seg_ros.model_card import read_model_card
from test.node.conftest import Robot, image_message, node_process
from test.robustness.live_frames import COUNTERS, settled
from test.robustness.vitals import Watch

NODE, MASK, TOPIC = '/soak/segmentation', '/soak/segmentation/label_mask', '/soak/image'
_ANSWERED_WITHIN_S = 10.0
_BAD_EVERY_FRAMES, _PARAMETER_EVERY_S, _SWITCH_EVERY_S = 20, 1.0, 5.0


def soak(model: Path, folder: Path, seconds: float, backend: str = 'auto') -> dict[str, Any]:
    """One frame after the other at full rate, with everything else going on at the same time.

    Every twentieth frame is broken, parameters change every second, two models take turns every
    five seconds.

    Returns:
        Counts, latency, and what the node's process held; ``lost``: valid frames without labels.
    """
    other = folder / 'other'
    shutil.copytree(model, other)
    robot = Robot()
    try:
        with node_process('/soak', model=model, backend=backend) as process:
            camera = Camera(robot, model)
            for _ in range(10):
                camera.ask()
            camera.latencies_ms.clear()
            start = camera.counters()
            sent_before = camera.sent
            changes = {'bad': 0, 'parameters': 0, 'switches': 0}
            with Watch(process.pid) as watch:
                began = time.monotonic()
                while (elapsed_s := time.monotonic() - began) < seconds:
                    _disturb(robot, camera, changes, (model, other), elapsed_s)
                    camera.ask()
            counts = difference(camera.counters(), start)
            sent = camera.sent - sent_before
            return {
                'seconds': seconds,
                'sent': sent,
                **counts,
                'unaccounted': counts['received'] - sum(counts[key] for key in COUNTERS[1:]),
                'replaced_in_transport': sent - counts['received'],
                'lost': camera.lost,
                **changes,
                **camera.latency(),
                **watch.summary(),
            }
    finally:
        robot.close()


def overload(
    model: Path, seconds: float, factor: float = 5, backend: str = 'auto'
) -> dict[str, Any]:
    """Frames at a multiple of the rate that the machine can serve.

    Returns:
        Counts, the latency of what was answered, and the unhurried latency beside it.
    """
    robot = Robot()
    try:
        with node_process('/soak', model=model, backend=backend):
            camera = Camera(robot, model)
            for _ in range(30):
                camera.ask()
            unhurried = camera.latency()
            camera.latencies_ms.clear()
            start, sent_before = camera.counters(), camera.sent
            period_s = unhurried['latency_p50_ms'] / 1e3 / factor
            end = due = time.monotonic()
            end += seconds
            while due < end:
                camera.send()
                due += period_s
                time.sleep(max(0.0, due - time.monotonic()))
            counts = difference(camera.counters(), start)
            sent = camera.sent - sent_before
            return {
                'seconds': seconds,
                'factor': factor,
                'sent': sent,
                **counts,
                'unaccounted': counts['received'] - sum(counts[key] for key in COUNTERS[1:]),
                'replaced_in_transport': sent - counts['received'],
                'unhurried_p50_ms': unhurried['latency_p50_ms'],
                **camera.latency(),
            }
    finally:
        robot.close()


def respawn(model: Path, times: int, backend: str = 'auto') -> dict[str, Any]:
    """Kill the node under load, start it anew, and measure until the next label arrives."""
    robot, seconds = Robot(), []
    try:
        for _ in range(times):
            with node_process('/soak', model=model, backend=backend) as process:
                camera = Camera(robot, model)
                camera.ask()
                process.kill()
                process.wait()
                process.poll = lambda: None  # it ended on purpose
                process.wait = lambda timeout=0: 0  # noqa: ARG005 - as Popen's
            began = time.monotonic()
            with node_process('/soak', model=model, backend=backend):
                camera.ask_until_answered()
                seconds.append(time.monotonic() - began)
            camera.close()
    finally:
        robot.close()
    return {'kills': times, 'next_label_after_s': [round(each, 2) for each in seconds]}


class Camera:
    """Sends frames of the model's input size and keeps what came back for each."""

    def __init__(self, robot: Robot, model: Path) -> None:
        spec = read_model_card(model).input
        rng = np.random.default_rng(0)
        self._picture = rng.integers(0, 256, (spec.height_px, spec.width_px, 3), np.uint8)
        self._robot = robot
        self._sent_s: dict[int, float] = {}
        self.latencies_ms: list[float] = []
        self.sent, self.lost = 0, 0
        self._subscription = robot.node.create_subscription(Image, MASK, self._receive, 100)
        self._publisher = robot.camera(TOPIC)

    def close(self) -> None:
        """Take publisher and subscription off the graph."""
        self._robot.node.destroy_subscription(self._subscription)
        self._robot.node.destroy_publisher(self._publisher)

    def send(self, **damage: Any) -> int:
        """Publish a frame, with some fields set to wrong values; returns its stamp's seconds."""
        message = image_message(self._picture, self._robot.header())
        for field, value in damage.items():
            setattr(message, field, value)
        stamp = message.header.stamp.sec
        self._sent_s[stamp] = time.monotonic()
        self._publisher.publish(message)
        self.sent += 1
        return stamp

    def ask(self) -> None:
        """Send a frame and wait for its labels; one that does not come is lost."""
        stamp = self.send()
        if not self._await(stamp, _ANSWERED_WITHIN_S):
            self.lost += 1

    def ask_until_answered(self) -> None:
        """Send frames until one is answered, as a camera does while a node starts."""
        answered = len(self.latencies_ms)
        while len(self.latencies_ms) == answered:
            self._await(self.send(), 0.05)  # labels of an earlier one may come meanwhile

    def counters(self) -> dict[str, int]:
        """The node's counters once nothing is in work."""
        values = self._robot.diagnostics(NODE, settled)[1]
        return {key: int(values[key]) for key in COUNTERS}

    def latency(self) -> dict[str, float]:
        """Publishing the image to having its labels, in milliseconds."""
        measured = self.latencies_ms or [float('nan')]
        p50, p99, most = np.percentile(measured, [50, 99, 100])
        return {
            'answered': len(self.latencies_ms),
            'latency_p50_ms': round(float(p50), 2),
            'latency_p99_ms': round(float(p99), 2),
            'latency_most_ms': round(float(most), 2),
        }

    def _await(self, stamp: int, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while stamp in self._sent_s and time.monotonic() < deadline:
            time.sleep(0.0005)
        return stamp not in self._sent_s

    def _receive(self, message: Image) -> None:
        if (sent_s := self._sent_s.pop(message.header.stamp.sec, None)) is not None:
            self.latencies_ms.append((time.monotonic() - sent_s) * 1e3)


def difference(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    """What was counted in between."""
    return {key: after[key] - before[key] for key in after}


def _disturb(
    robot: Robot,
    camera: Camera,
    changes: dict[str, int],
    models: tuple[Path, ...],
    elapsed_s: float,
) -> None:
    """A broken frame, another parameter, another model, each when it is due."""
    if camera.sent // _BAD_EVERY_FRAMES > changes['bad']:
        damages = ({'step': 7}, {'encoding': 'nonsense'}, {'height': 0})
        camera.send(**damages[changes['bad'] % 3])
        changes['bad'] += 1
        time.sleep(0.005)  # what comes at once would replace it
    if elapsed_s > changes['parameters'] * _PARAMETER_EVERY_S:
        threshold = 0.3 * (changes['parameters'] % 2)
        accepted, reason = robot.set_parameter(NODE, 'min_confidence', threshold)
        assert accepted, reason
        changes['parameters'] += 1
    if elapsed_s > changes['switches'] * _SWITCH_EVERY_S:
        model = models[(changes['switches'] + 1) % len(models)]
        accepted, reason = robot.set_parameter(NODE, 'model', str(model))
        assert accepted or 'still being loaded' in reason, reason
        changes['switches'] += accepted
