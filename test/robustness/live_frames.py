"""Bad frames over real DDS into a node in a process of its own."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from geometry_msgs.msg import PolygonStamped
from hypothesis import strategies as st
from rcl_interfaces.msg import Log
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from seg_ros.image import decode_compressed_image, decode_image
from seg_ros.node.messages import HAS_VISION_MSGS
from test.conftest import stripes
from test.node.conftest import Robot, image_message, labels_of, node_process
from test.robustness.frames import LIMIT
from test.robustness.strategies import camera_infos, compressed_images, images, pictures
from test.robustness.tally import Tally, draw_cases
from test.robustness.vitals import look_at

COUNTERS = ('received', 'published', 'dropped', 'rejected')
_MASK, _INFO = '/fuzz/segmentation/label_mask', '/fuzz/segmentation/camera_info'
# With everything on that is done to labels; the stripes go through it unchanged.
_SETTINGS = {
    'class_remap': "['red: ball', 'green: field', 'blue: road']",
    'min_area_px': "['all: 3']",
    'roi': '[0, 0, 64, 48]',
    'geometry': '[field_boundary, drivable_edge]',
}
_SHAPES = {
    '/fuzz/segmentation/field_boundary': PolygonStamped,
    '/fuzz/segmentation/drivable_edge': PolygonStamped,
}
if HAS_VISION_MSGS:
    from vision_msgs.msg import Detection2DArray

    _SETTINGS['geometry'] = '[ball, field_boundary, drivable_edge]'
    _SHAPES['/fuzz/segmentation/ball_candidates'] = Detection2DArray
_TAKEN_WITHIN_S = 0.004  # a refusal takes 0.1 ms; what comes meanwhile would replace the frame


def fuzz_node(model: Path, cases: int, transport: str) -> tuple[Tally, dict[str, Any]]:
    """Send drawn frames and calibrations to a node, a valid frame after each.

    Remap, specks, region and shapes are on. Every valid frame must be answered with its labels,
    every drawn one that the decoder takes with a mask of its size; the others must be counted as
    rejected.

    Returns:
        The tally, and the node's counters, its growth and how many reasons it logged.
    """
    robot = Robot()
    parameters = {'model': model, 'backend': 'onnxruntime', 'max_image_pixels': LIMIT, **_SETTINGS}
    kind = CompressedImage if transport == 'compressed' else Image
    strategy = compressed_images() if kind is CompressedImage else images()
    tally = Tally(f'{kind.__name__} into a live node')
    try:
        with node_process('/fuzz', image_transport=transport, **parameters) as process:
            sender = _Sender(robot, kind)
            sender.wait_until_heard()
            before = sender.settled_counters()
            sender.serve_valid()
            first = look_at(process.pid)
            draw_cases(tally, st.tuples(strategy, camera_infos()), cases, sender.try_case)
            sender.serve_valid()
            after = sender.settled_counters()
            counters = {key: after[key] - before[key] for key in after}
            last = look_at(process.pid)
    finally:
        robot.close()
    tally.growth_mb = last.rss_mb - first.rss_mb
    _check_counters(tally, counters, sender)
    tally.wrong_sizes += sender.wrong_sizes
    return tally, {
        **counters,
        'valid_served': sender.valid,
        'rejections_expected': sender.refused,
        'reasons_logged': len(sender.logged()),
        'threads_gained': last.threads - first.threads,
        'file_handles_gained': last.file_handles - first.file_handles,
    }


class _Sender:
    """The cameras' side of the fuzzing."""

    def __init__(self, robot: Robot, kind: type) -> None:
        self._robot = robot
        self._kind = kind
        topic = '/fuzz/image' + ('/compressed' if kind is CompressedImage else '')
        robot.listen(_MASK)
        robot.listen(_INFO, CameraInfo)
        for shape, shape_kind in _SHAPES.items():
            robot.listen(shape, shape_kind)
        robot.node.create_subscription(Log, '/rosout', robot.received['/rosout'].append, 100)
        self._camera = robot.camera(topic, kind)
        self._infos = robot.camera('/fuzz/camera_info', CameraInfo)
        self.valid, self.taken, self.refused = 0, 0, 0
        self.wrong_sizes: list[str] = []

    def try_case(self, case: tuple[SimpleNamespace, SimpleNamespace]) -> None:
        fields, info = case
        self._infos.publish(_message(CameraInfo, info, 'camera'))
        message = _message(self._kind, fields, f'case {self.valid}')
        decode = decode_compressed_image if self._kind is CompressedImage else decode_image
        refusal = None
        try:
            image = decode(message, max_image_pixels=LIMIT)
        except ValueError as error:
            refusal = error
        self._camera.publish(message)
        if refusal is None:
            self.taken += 1
            answer = self._robot.message_with(_MASK, message.header)
            if (answer.height, answer.width) != image.pixels.shape[:2]:
                self.wrong_sizes.append(f'{answer.height}x{answer.width} for {fields}')
        else:
            self.refused += 1
            time.sleep(_TAKEN_WITHIN_S)
        self.serve_valid()
        if refusal is not None:
            raise refusal

    def wait_until_heard(self) -> None:
        """Send frames until one is answered: a node that knows of no listener takes none."""
        self._robot.ask(self._camera, self._valid_message(), _MASK)

    def _valid_message(self) -> Any:
        header = self._robot.header()
        if self._kind is Image:
            return image_message(stripes()[0], header)
        return CompressedImage(header=header, format='png', data=pictures()[3])

    def serve_valid(self) -> None:
        """Send the stripes and wait for their labels."""
        self.valid += 1
        message = self._valid_message()
        self._camera.publish(message)
        answer = labels_of(self._robot.message_with(_MASK, message.header))
        if not np.array_equal(answer, stripes()[1]):
            self.wrong_sizes.append(f'wrong labels for valid frame {self.valid}')
        for received in (_MASK, _INFO, *_SHAPES):
            self._robot.received[received].clear()

    def settled_counters(self) -> dict[str, int]:
        """The node's counters once nothing is in work."""
        _, values = self._robot.diagnostics('/fuzz/segmentation', settled)
        return {key: int(values[key]) for key in COUNTERS}

    def logged(self) -> set[str]:
        """Different messages of the node that speak of a rejection."""
        messages = list(self._robot.received['/rosout'])
        return {message.msg for message in messages if 'rejected' in message.msg}


def settled(values: dict[str, str]) -> bool:
    """Whether the node's counters add up with no frame in work."""
    received, *parts = (int(values[key]) for key in COUNTERS)
    return received == sum(parts)


def _check_counters(tally: Tally, counters: dict[str, int], sender: _Sender) -> None:
    """Published are exactly those that can be; what was sent in between is accounted for."""
    expected = sender.valid + sender.taken
    if counters['published'] != expected:
        tally.crashes.append(f'{counters["published"]} frames published of {expected}')
    # A refused frame that a valid one overtook counts as dropped, or was replaced within DDS.
    sent = expected + sender.refused
    in_transport = sent - counters['received']
    if (
        in_transport < 0
        or counters['rejected'] + counters['dropped'] + in_transport < sender.refused
    ):
        tally.crashes.append(f'{counters} do not explain {sent} sent, {sender.refused} to refuse')
    if sender.refused and not counters['rejected']:
        tally.crashes.append('no frame was rejected')
    if not sender.logged() and sender.refused:
        tally.crashes.append('no rejection was logged')


def _message(kind: type, fields: SimpleNamespace, frame_id: str) -> Any:
    """A ROS message with the drawn fields."""
    message = kind()
    message.header.frame_id = frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = fields.stamp
    for name, value in vars(fields).items():
        if name != 'stamp':
            setattr(message, name, value)
    return message
