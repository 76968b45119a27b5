"""What the labels mean, for everyone who comes, early or late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from std_msgs.msg import Header, String

from seg_ros.node import messages
from seg_ros.node.message_types import message_class
from seg_ros.node.publisher import LATCHED, create_publisher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rclpy.node import Node

    from seg_ros.model_card import ClassInfo


class ClassTopics:
    """``~/class_names`` and, where vision_msgs is installed, ``~/label_info``; both latched.

    Args:
        node: Owner of the publishers.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._announced: tuple[Sequence[ClassInfo], float] | None = None
        self._names = create_publisher(node, String, '~/class_names', LATCHED)
        self._info = None
        if messages.HAS_VISION_MSGS:
            self._info = create_publisher(
                node, message_class('vision_msgs/LabelInfo'), '~/label_info', LATCHED
            )

    def announce(self, classes: Sequence[ClassInfo], threshold: float) -> None:
        """Publish what changed since the last time.

        Args:
            classes: What the labels mean from now on.
            threshold: ``min_confidence``, as LabelInfo carries one.
        """
        if self._announced == (classes, threshold):
            return
        if self._announced is None or self._announced[0] != classes:
            self._names.publish(messages.to_class_names(classes))
        if self._info is not None:
            header = Header(stamp=self._node.get_clock().now().to_msg())
            self._info.publish(messages.to_label_info(classes, header, threshold))
        self._announced = (classes, threshold)

    def destroy(self) -> None:
        """Take the topics off the graph."""
        self._node.destroy_publisher(self._names)
        if self._info is not None:
            self._node.destroy_publisher(self._info)
