"""The topics of one camera; what nobody listens to is neither computed nor sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from std_msgs.msg import Float64, Header

from seg_ros.geometry import ball_candidates, drivable_edge, field_boundary
from seg_ros.node import messages
from seg_ros.node.interface import CAMERA_TOPICS
from seg_ros.node.message_types import message_class
from seg_ros.node.publisher import create_publisher
from seg_ros.overlay import blend, colorize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rclpy.node import Node
    from rclpy.publisher import Publisher
    from sensor_msgs.msg import CameraInfo

    from seg_ros.image import CameraImage
    from seg_ros.node.label_scheme import LabelScheme

_FIXED = {topic.name: topic.type for topic in CAMERA_TOPICS}
BALLS, FIELD, ROAD = 'ball_candidates', 'field_boundary', 'drivable_edge'


@dataclass(frozen=True)
class Result:
    """One frame, done.

    Attributes:
        labels: (H, W) uint8 ids of the published classes.
        confidence: (H, W) uint8, or None where it was not asked for.
        image: The camera's pixels.
        header: Of the camera's message.
    """

    labels: np.ndarray
    confidence: np.ndarray | None
    image: CameraImage
    header: Header


class Outputs:
    """Publishers of one camera.

    The executor's thread adds and removes them, the worker publishes; the mapping is replaced,
    never changed, so that neither sees half of it.

    Args:
        node: Owner of the publishers.
        prefix: ``''`` or ``<camera>/``.
        label_encoding: ``mono8`` or ``16SC1``.
        scheme: Classes to begin with.
    """

    def __init__(self, node: Node, prefix: str, label_encoding: str, scheme: LabelScheme) -> None:
        self._node = node
        self._prefix = prefix
        self._label_encoding = label_encoding
        self._publishers: dict[str, Publisher] = {}
        self.offer({**_FIXED, **scheme.topics()})

    def offer(self, topics: Mapping[str, str]) -> None:
        """Put topics (name -> type) on the graph beside those that are there."""
        created = {
            name: create_publisher(self._node, message_class(kind), f'~/{self._prefix}{name}')
            for name, kind in topics.items()
            if name not in self._publishers
        }
        self._publishers = {**self._publishers, **created}

    def retire(self, *schemes: LabelScheme) -> None:
        """Take the topics off the graph that have no place in any of the schemes."""
        kept = _FIXED.keys() | {name for scheme in schemes for name in scheme.topics()}
        previous = self._publishers
        self._publishers = {name: entry for name, entry in previous.items() if name in kept}
        for name in previous.keys() - kept:
            self._node.destroy_publisher(previous[name])

    def destroy(self) -> None:
        """Take every topic off the graph."""
        previous, self._publishers = self._publishers, {}
        for publisher in previous.values():
            self._node.destroy_publisher(publisher)

    def have_listener(self) -> bool:
        """Tell whether anybody listens to any output."""
        return any(entry.get_subscription_count() for entry in self._publishers.values())

    def wanted(self, scheme: LabelScheme) -> frozenset[str]:
        """Names of the outputs of a scheme that somebody listens to."""
        return frozenset(
            name
            for name, publisher in self._publishers.items()
            if (name in _FIXED or name in scheme.masks or name in scheme.shapes)
            and publisher.get_subscription_count()
        )

    def publish(
        self, wanted: frozenset[str], scheme: LabelScheme, result: Result, overlay_alpha: float
    ) -> None:
        """Send the wanted outputs: what a robot acts on first, what people look at last."""
        self._publish_labels(wanted, scheme, result)
        if wanted & scheme.shapes.keys():
            self._publish_shapes(wanted, scheme, result)
        self._publish_pictures(wanted, scheme, result, overlay_alpha)

    def _publish_labels(self, wanted: frozenset[str], scheme: LabelScheme, result: Result) -> None:
        labels, header = result.labels, result.header
        if 'label_mask' in wanted:
            signed = self._label_encoding == '16SC1'
            ids = labels.astype(np.int16) if signed else labels
            self._send('label_mask', messages.to_image(ids, self._label_encoding, header))
        if 'confidence' in wanted and result.confidence is not None:
            self._send('confidence', messages.to_image(result.confidence, 'mono8', header))
        for name in wanted & scheme.masks.keys():
            mask = np.negative((labels == scheme.masks[name]).view(np.uint8))  # 255 = -1
            self._send(name, messages.to_image(mask, 'mono8', header))

    def _publish_shapes(self, wanted: frozenset[str], scheme: LabelScheme, result: Result) -> None:
        labels, header = result.labels, result.header
        if BALLS in wanted:
            (ball_id,) = scheme.shapes[BALLS]
            balls = ball_candidates(labels, ball_id, result.confidence)
            self._send(BALLS, messages.to_detections(balls, 'ball', header))
        for name, outline in ((FIELD, field_boundary), (ROAD, drivable_edge)):
            if name in wanted:
                corners = outline(labels, scheme.shapes[name])
                self._send(name, messages.to_polygon(corners, header))

    def _publish_pictures(
        self, wanted: frozenset[str], scheme: LabelScheme, result: Result, overlay_alpha: float
    ) -> None:
        labels, header = result.labels, result.header
        if 'label_mask/compressed' in wanted:
            _, png = cv2.imencode('.png', labels, (cv2.IMWRITE_PNG_COMPRESSION, 1))
            message = messages.to_compressed_image(png, 'mono8; png compressed mono8', header)
            self._send('label_mask/compressed', message)
        if 'color_mask' in wanted:
            painted = colorize(labels, scheme.palette)
            self._send('color_mask', messages.to_image(painted, 'rgb8', header))
        if 'overlay' in wanted:
            pixels = result.image.pixels
            if result.image.order == 'bgr':
                pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
            mixed = blend(pixels, labels, scheme.palette, overlay_alpha)
            self._send('overlay', messages.to_image(mixed, 'rgb8', header))

    def publish_camera_info(self, info: CameraInfo) -> None:
        """Send the calibration of labels, in their header; see ``CameraInfos``."""
        self._send('camera_info', info)

    def publish_debug(self, wanted: frozenset[str], values_ms: Mapping[str, float | None]) -> None:
        """Send numbers under ``~/debug/<name>``; None is left out."""
        for name, value in values_ms.items():
            if value is not None and f'debug/{name}' in wanted:
                self._send(f'debug/{name}', Float64(data=value))

    def _send(self, name: str, message: object) -> None:
        if (publisher := self._publishers.get(name)) is not None:
            publisher.publish(message)
