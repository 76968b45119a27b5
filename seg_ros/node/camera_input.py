"""The subscriptions of one camera, and the choice of their reliability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from seg_ros.node.config import COMPRESSED, NodeConfig, camera_info_topic
from seg_ros.node.publisher import WEAKER_STRONGER

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node


class CameraInput:
    """Subscribes to the image and the calibration of a camera.

    A reader that asks for best effort gets best effort even from a reliable writer, and large
    frames then get lost; one that asks for reliable gets nothing from a best-effort writer. With
    ``input_reliability: auto`` the reader is reliable while every publisher is, and is replaced
    when publishers of the other kind come.

    Args:
        node: Owner of the subscriptions.
        image_topic: One of ``config.image_topics``.
        config: The node's settings.
        on_image: Called in the executor with the message.
        on_camera_info: The same with the messages of the calibration.
    """

    def __init__(
        self,
        node: Node,
        image_topic: str,
        config: NodeConfig,
        on_image: Callable[[Any], None],
        on_camera_info: Callable[[CameraInfo], None],
    ) -> None:
        self._node = node
        self._on_image = on_image
        self._kind = CompressedImage if config.image_transport == COMPRESSED else Image
        self._topic = node.resolve_topic_name(config.input_topic(image_topic))
        self._reliability_override = f'qos_overrides.{self._topic}.subscription.reliability'
        self._auto = config.input_reliability == 'auto' and not node.has_parameter(
            self._reliability_override
        )
        self._reliability = {
            'reliable': ReliabilityPolicy.RELIABLE,
            'best_effort': ReliabilityPolicy.BEST_EFFORT,
        }.get(config.input_reliability, self._offered())
        # An event callback must not destroy the subscription that it belongs to.
        self._graph_changed = node.create_guard_condition(self.reconsider)
        self._image = self._subscribe()
        self._info = node.create_subscription(
            CameraInfo,
            camera_info_topic(image_topic),
            on_camera_info,
            # Each is paired with its image, so that none may be replaced by the next.
            QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT),
        )

    @property
    def topic(self) -> str:
        """Resolved name of the topic that is subscribed."""
        return self._topic

    @property
    def type_name(self) -> str:
        """Type of its messages, as the graph names it."""
        return f'sensor_msgs/msg/{self._kind.__name__}'

    @property
    def reliability(self) -> str:
        """What the subscription asks for: ``reliable`` or ``best_effort``."""
        return str(self._image.qos_profile.reliability.name).lower()

    def destroy(self) -> None:
        """Stop taking messages."""
        self._node.destroy_guard_condition(self._graph_changed)
        self._node.destroy_subscription(self._image)
        self._node.destroy_subscription(self._info)

    def _offered(self) -> ReliabilityPolicy:
        """What suits the publishers that are there now."""
        offers = self._node.get_publishers_info_by_topic(self._topic)
        if all(offer.qos_profile.reliability == ReliabilityPolicy.RELIABLE for offer in offers):
            return ReliabilityPolicy.RELIABLE
        return ReliabilityPolicy.BEST_EFFORT

    def reconsider(self) -> None:
        """Subscribe anew where the publishers ask for another reliability.

        Events trigger it; the node's timer too, as an event may come before the graph has it.
        """
        if self._auto and self._offered() != self._reliability:
            self._reliability = self._offered()
            old, self._image = self._image, self._subscribe()
            self._node.destroy_subscription(old)
            kind = self._reliability.name.lower()
            self._node.get_logger().info(f'{self._topic}: subscribed {kind} as its publishers are')

    def _subscribe(self) -> Any:
        policies = [QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.DURABILITY]
        if not self._auto:
            policies.append(QoSPolicyKind.RELIABILITY)
        events = SubscriptionEventCallbacks(
            matched=lambda _: self._graph_changed.trigger(),
            incompatible_qos=self._on_incompatible_qos,
        )
        return self._node.create_subscription(
            self._kind,
            self._topic,
            self._on_image,
            QoSProfile(
                reliability=self._reliability,
                durability=DurabilityPolicy.VOLATILE,
                history=HistoryPolicy.KEEP_LAST,
                depth=1,
            ),
            event_callbacks=events,
            qos_overriding_options=QoSOverridingOptions(policies),
        )

    def _on_incompatible_qos(self, event: Any) -> None:
        self._graph_changed.trigger()
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        if self._auto and policy == 'reliability':
            return  # cured by the change of reliability that was just triggered
        offered, asked = WEAKER_STRONGER.get(policy, ('another', 'one'))
        self._node.get_logger().error(
            f'{self._topic}: {policy} {asked} is asked for and a publisher offers {offered}; none '
            f'of its frames arrives. Let it offer {asked}, or set the parameter '
            f'qos_overrides.{self._topic}.subscription.{policy} to {offered}'
            + (' (input_reliability: auto does so).' if policy == 'reliability' else '.')
        )
