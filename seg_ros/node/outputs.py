"""The topics of one camera; what nobody listens to is neither computed nor sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float64, Header

from seg_ros.node import messages
from seg_ros.overlay import blend, colorize, palette

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rclpy.node import Node
    from rclpy.publisher import Publisher

    from seg_ros.image import CameraImage
    from seg_ros.model_card import ClassInfo
    from seg_ros.segmenter import Segmentation

NEWEST = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
)
LATCHED = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
)


def create_publisher(node: Node, kind: type, topic: str, qos: QoSProfile = NEWEST) -> Publisher:
    """Create a publisher whose QoS can be overridden by ``qos_overrides`` parameters."""
    options = QoSOverridingOptions.with_default_policies()
    return node.create_publisher(kind, topic, qos, qos_overriding_options=options)


class Outputs:
    """Publishers of one camera.

    Args:
        node: Owner of the publishers.
        prefix: ``''`` or ``<camera>/``.
        classes: What the labels mean.
        label_encoding: ``mono8`` or ``16SC1``.
        with_masks: Whether to offer a mask per class.
    """

    def __init__(
        self,
        node: Node,
        prefix: str,
        classes: Sequence[ClassInfo],
        *,
        label_encoding: str,
        with_masks: bool,
    ) -> None:
        self._node = node
        self._label_encoding = label_encoding
        self._palette = palette(classes)
        self._classes = {f'mask/{entry.name}': entry for entry in classes} if with_masks else {}
        kinds: dict[str, type] = {
            'label_mask': Image,
            'label_mask/compressed': CompressedImage,
            'confidence': Image,
            **dict.fromkeys(self._classes, Image),
            'camera_info': CameraInfo,
            'color_mask': Image,
            'overlay': Image,
            'debug/processing_time_ms': Float64,
            'debug/pipeline_latency_ms': Float64,
        }
        self._publishers = {
            name: create_publisher(node, kind, f'~/{prefix}{name}') for name, kind in kinds.items()
        }

    def wanted(self) -> frozenset[str]:
        """Names of the outputs that somebody listens to."""
        return frozenset(
            name
            for name, publisher in self._publishers.items()
            if publisher.get_subscription_count()
        )

    def publish_labels(self, wanted: frozenset[str], result: Segmentation, header: Header) -> None:
        """Send what consumers act on: the label mask first, then confidence and masks."""
        labels = result.labels
        if 'label_mask' in wanted:
            signed = self._label_encoding == '16SC1'
            ids = labels.astype(np.int16) if signed else labels
            self._send('label_mask', messages.to_image(ids, self._label_encoding, header))
        if 'confidence' in wanted and result.confidence is not None:
            self._send('confidence', messages.to_image(result.confidence, 'mono8', header))
        for name in wanted & self._classes.keys():
            mask = cv2.compare(labels, float(self._classes[name].id), cv2.CMP_EQ)
            self._send(name, messages.to_image(mask, 'mono8', header))

    def publish_pictures(
        self,
        wanted: frozenset[str],
        result: Segmentation,
        image: CameraImage,
        header: Header,
        overlay_alpha: float,
    ) -> None:
        """Send what people look at, after everything that a robot waits for."""
        labels = result.labels
        if 'label_mask/compressed' in wanted:
            _, png = cv2.imencode('.png', labels, (cv2.IMWRITE_PNG_COMPRESSION, 1))
            message = messages.to_compressed_image(png, 'mono8; png compressed mono8', header)
            self._send('label_mask/compressed', message)
        if 'color_mask' in wanted:
            painted = colorize(labels, self._palette)
            self._send('color_mask', messages.to_image(painted, 'rgb8', header))
        if 'overlay' in wanted:
            pixels = image.pixels
            if image.order == 'bgr':
                pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
            mixed = blend(pixels, labels, self._palette, overlay_alpha)
            self._send('overlay', messages.to_image(mixed, 'rgb8', header))

    def publish_camera_info(
        self, wanted: frozenset[str], info: CameraInfo | None, labels: np.ndarray, header: Header
    ) -> None:
        """Send the calibration of the label image, where the camera sent one."""
        if 'camera_info' in wanted and info is not None:
            height, width = labels.shape
            self._send('camera_info', messages.to_camera_info(info, width, height, header))

    def publish_debug(self, wanted: frozenset[str], name: str, value_ms: float) -> None:
        """Send one number under ``~/debug/<name>``."""
        if f'debug/{name}' in wanted:
            self._send(f'debug/{name}', Float64(data=value_ms))

    def destroy(self) -> None:
        """Take the topics off the graph."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        self._publishers.clear()

    def _send(self, name: str, message: object) -> None:
        self._publishers[name].publish(message)


class ClassTopics:
    """``~/class_names`` and, where vision_msgs is installed, ``~/label_info``; both latched.

    Args:
        node: Owner of the publishers.
        classes: The classes of the model.
        threshold: ``min_confidence``, as LabelInfo carries one.
    """

    def __init__(self, node: Node, classes: Sequence[ClassInfo], threshold: float) -> None:
        self._node = node
        self._classes = classes
        self._publishers: dict[str, Publisher] = {}
        self._publish('class_names', messages.to_class_names(classes))
        self.publish_label_info(threshold)

    def publish_label_info(self, threshold: float) -> None:
        """Send ``~/label_info``, where vision_msgs is installed; anew for a new threshold."""
        if messages.HAS_VISION_MSGS:
            header = Header(stamp=self._node.get_clock().now().to_msg())
            self._publish('label_info', messages.to_label_info(self._classes, header, threshold))

    def destroy(self) -> None:
        """Take the topics off the graph."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        self._publishers.clear()

    def _publish(self, name: str, message: object) -> None:
        if name not in self._publishers:
            publisher = create_publisher(self._node, type(message), f'~/{name}', LATCHED)
            self._publishers[name] = publisher
        self._publishers[name].publish(message)
