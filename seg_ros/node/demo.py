"""The main job end to end: a bag goes through the node, and what comes out is kept and scored.

Three parties over real DDS: this process plays the bag and records; the node runs in a process of
its own, as on a robot.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from seg_ros.bag_writer import BagWriter
from seg_ros.bags import (
    COMPRESSED_IMAGE_TYPE,
    IMAGE_TYPE,
    Bag,
    BagMessage,
    decode_label_data,
    header_frame_id,
    header_stamp_ns,
)
from seg_ros.evaluation.recording import to_image_message
from seg_ros.node.bag_player import BagPlayer
from seg_ros.node.bag_recorder import BagRecorder
from seg_ros.node.compat import stay_on_this_machine
from seg_ros.node.config import COMPRESSED, RAW
from seg_ros.node.runtime import use_large_image_profile
from seg_ros.overlay import colorize, palette

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np

    from seg_ros.model_card import ClassInfo

_NODE = 'segmentation'
_OUTPUTS = {f'/{_NODE}/{name}': IMAGE_TYPE for name in ('label_mask', 'confidence', 'overlay')}
LABEL_MASK, CONFIDENCE, OVERLAY = _OUTPUTS
_COLOR_MASK = f'/{_NODE}/color_mask'
_READY_WITHIN_S = 60.0
_QUIET_AFTER_S = 5.0
_PROBES = 5


@dataclass(frozen=True)
class Recording:
    """What a run gave, by header stamp in ns.

    Attributes:
        sent: The image messages that were played.
        outputs: Topic of the node -> stamp -> message.
        latency_ms: Stamp -> milliseconds from just before an image was published to the arrival
            of its label mask in this process.
        rate: Speed of the playing as a multiple of the recorded one.
    """

    sent: dict[int, BagMessage]
    outputs: dict[str, dict[int, BagMessage]]
    latency_ms: dict[int, float]
    rate: float

    @property
    def dropped(self) -> int:
        """Images without a label mask."""
        return len(self.sent.keys() - self.outputs[LABEL_MASK].keys())


def run_bag(
    bag_path: Path,
    image_topic: str,
    *,
    model: str,
    backend: str = 'auto',
    precision: str = 'auto',
    rate: float | None = None,
) -> Recording:
    """Play a bag through a node and record its label mask, confidence and overlay.

    Args:
        bag_path: The bag's folder.
        image_topic: Topic of type Image or CompressedImage.
        model: Name or path of the model.
        backend: Engine of the node.
        precision: What it computes in.
        rate: Speed as a multiple of the recorded one; None for the recorded one, or slower where
            the machine cannot hold it (measured on the first frame beforehand).

    Raises:
        ValueError: If the topic is not there, holds no stamped images, or the node did not start.
    """
    with Bag(bag_path) as bag:
        kind = bag.topic(image_topic, (IMAGE_TYPE, COMPRESSED_IMAGE_TYPE)).type
        images = list(bag.read_messages([image_topic]))
    sent = {header_stamp_ns(image.data): image for image in images}
    if len(sent) < len(images) or not sent:
        raise ValueError(
            f'{bag_path}: the {len(images)} images of {image_topic} have {len(sent)} different '
            'stamps; results are matched by stamp'
        )
    stay_on_this_machine()
    os.environ.setdefault('ROS_DOMAIN_ID', str(random.randint(1, 100)))  # noqa: S311
    use_large_image_profile()
    transport = COMPRESSED if kind == COMPRESSED_IMAGE_TYPE else RAW
    parameters = {
        'model': model,
        'backend': backend,
        'precision': precision,
        'image_topics': f'[{image_topic}]',
        'image_transport': transport,
    }
    arguments = [word for name, value in parameters.items() for word in ('-p', f'{name}:={value}')]
    if transport == COMPRESSED and not image_topic.endswith(f'/{COMPRESSED}'):
        # not under the name that image_transport gives; the node follows that convention
        arguments += ['-r', f'{image_topic}/{COMPRESSED}:={image_topic}']
    with _spinning_node() as ros, _segmentation_process(arguments) as process:
        recorder = BagRecorder(ros, _OUTPUTS)
        player = BagPlayer(ros, bag_path, [image_topic])
        publisher = player.publishers[image_topic]
        _wait_until_ready(ros, publisher, process)
        frame_ms = _probe(publisher, images[0], recorder)
        if rate is None:
            rate = _sustainable_rate(images, frame_ms)
        recorder.clear()
        published_s: dict[int, float] = {}

        def note(message: BagMessage) -> None:
            published_s[header_stamp_ns(message.data)] = time.monotonic()

        player.play(rate=rate, on_published=note)
        _wait_until_quiet(recorder, len(sent))
        arrivals = recorder.arrivals_s[LABEL_MASK]
        latency_ms = {
            stamp: (arrivals[stamp] - published_s[stamp]) * 1e3
            for stamp in sorted(arrivals.keys() & published_s.keys())
        }
        return Recording(sent, recorder.messages, latency_ms, rate)


def write_recording(
    recording: Recording, truth: Iterable[BagMessage], classes: Sequence[ClassInfo], out: Path
) -> None:
    """Write images, the node's outputs and the truth into one mcap, in step by header stamp.

    ``color_mask`` is painted here from the label masks: asking the node for it while the bag plays
    would add to the latency that is measured.
    """
    messages = [*recording.sent.values(), *truth]
    for kept in recording.outputs.values():
        messages.extend(kept.values())
    colors = palette(classes)
    messages.extend(_painted(mask, colors) for mask in recording.outputs[LABEL_MASK].values())
    stamped = [replace(message, time_ns=header_stamp_ns(message.data)) for message in messages]
    with BagWriter(out) as writer:
        for message in sorted(stamped, key=lambda message: message.time_ns):
            writer.write(message)


def _painted(mask: BagMessage, colors: np.ndarray) -> BagMessage:
    picture = colorize(decode_label_data(mask.data, mask.type), colors)
    stamp_ns, frame_id = header_stamp_ns(mask.data), header_frame_id(mask.data)
    data = to_image_message(picture, 'rgb8', stamp_ns, frame_id)
    return replace(mask, topic=_COLOR_MASK, data=data)


@contextlib.contextmanager
def _spinning_node() -> Iterator[Any]:
    """A node of this process whose callbacks run in a thread."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('seg_ros_demo')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        stop.set()
        thread.join()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


@contextlib.contextmanager
def _segmentation_process(arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The node under test, ended by SIGINT as a user would."""
    command = [sys.executable, '-m', 'seg_ros', 'segmentation_node', '--ros-args', *arguments]
    process = subprocess.Popen(command)  # noqa: S603
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_until_ready(ros: Any, publisher: Any, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline:
        outputs = all(ros.count_publishers(topic) for topic in _OUTPUTS)
        if outputs and publisher.get_subscription_count():
            return
        if process.poll() is not None:
            raise ValueError(f'the node ended with status {process.returncode}; see its message')
        time.sleep(0.05)
    raise ValueError(f'the node was not ready within {_READY_WITHIN_S:.0f} s; see its messages')


def _probe(publisher: Any, image: BagMessage, recorder: BagRecorder) -> float:
    """Milliseconds from image to label mask, the median of a few tries with the first frame.

    The node sends nothing to a listener that it does not know of yet, and on a busy machine that
    takes seconds: the frame is sent again until every output has come once.
    """
    deadline, patience_s = time.monotonic() + _READY_WITHIN_S, 1.0
    while not _is_answered(publisher, image, recorder, patience_s):
        if time.monotonic() > deadline:
            raise ValueError('the node gave no labels for the first image; see its messages')
        patience_s *= 2
    times_ms = []
    for _ in range(_PROBES):
        start = time.monotonic()
        if not _is_answered(publisher, image, recorder, max(patience_s, _QUIET_AFTER_S)):
            raise ValueError('the node stopped giving labels; see its messages')
        times_ms.append((time.monotonic() - start) * 1e3)
    return float(np.median(times_ms))


def _is_answered(
    publisher: Any, image: BagMessage, recorder: BagRecorder, within_s: float
) -> bool:
    recorder.clear()
    start = time.monotonic()
    publisher.publish(image.data)
    while not all(recorder.messages.values()):
        if time.monotonic() - start > within_s:
            return False
        time.sleep(0.001)
    return True


def _sustainable_rate(images: list[BagMessage], frame_ms: float) -> float:
    """The recorded speed, or the one at which the machine has a third of the time to spare."""
    times_ns = [image.time_ns for image in images]
    if len(times_ns) < 2:
        return 1.0
    period_ms = float(np.median(np.diff(times_ns))) / 1e6
    return min(1.0, period_ms / (1.5 * frame_ms)) if period_ms > 0 else 1.0


def _wait_until_quiet(recorder: BagRecorder, expected: int) -> None:
    """Wait for all results, or until none came for a while."""
    last = (time.monotonic(), -1)
    while any(len(kept) < expected for kept in recorder.messages.values()):
        count = sum(len(kept) for kept in recorder.messages.values())
        if count != last[1]:
            last = (time.monotonic(), count)
        elif time.monotonic() - last[0] > _QUIET_AFTER_S:
            return
        time.sleep(0.02)
