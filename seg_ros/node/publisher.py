"""Publishers as the whole node makes them: QoS, overrides, a word on QoS that does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.event_handler import PublisherEventCallbacks
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.publisher import Publisher

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
    resolved = node.resolve_topic_name(topic)

    def on_incompatible_qos(event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        offered = getattr(qos, policy, None)
        node.get_logger().error(
            f'{resolved}: a subscriber asks for another {policy} than '
            f'{getattr(offered, "name", offered)}, which is offered; it gets nothing. Set '
            f'qos_overrides.{resolved}.publisher.{policy} or let it ask for less '
            f'(ros2 topic info -v {resolved}).'
        )

    return node.create_publisher(
        kind,
        topic,
        qos,
        event_callbacks=PublisherEventCallbacks(incompatible_qos=on_incompatible_qos),
        qos_overriding_options=QoSOverridingOptions.with_default_policies(),
    )
