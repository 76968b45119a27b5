"""Publishers as the whole node makes them: QoS, overrides, a word on QoS that does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)

from seg_ros.node.compat import PublisherEventCallbacks
from seg_ros.node.qos_overrides import overriding_options
from seg_ros.node.seldom_log import SeldomLog

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

# Policy -> the value that does not serve who asks for the other one; no other pair collides.
WEAKER_STRONGER = {
    'reliability': ('best_effort', 'reliable'),
    'durability': ('volatile', 'transient_local'),
}


def create_publisher(node: Node, kind: type, topic: str, qos: QoSProfile = NEWEST) -> Publisher:
    """Create a publisher whose QoS can be overridden by ``qos_overrides`` parameters."""
    resolved = node.resolve_topic_name(topic)
    complain = SeldomLog(node.get_logger().error)

    def on_incompatible_qos(event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        offered, asked = WEAKER_STRONGER.get(policy, ('another', 'one'))
        complain(
            f'{resolved}: {policy} is offered {offered} and a subscriber asks for {asked}; it '
            f'gets nothing. Let it ask for {offered}, or set the parameter '
            f'qos_overrides.{resolved}.publisher.{policy} to {asked}.'
        )

    return node.create_publisher(
        kind,
        topic,
        qos,
        event_callbacks=PublisherEventCallbacks(incompatible_qos=on_incompatible_qos),
        qos_overriding_options=overriding_options(node, resolved, 'publisher'),
    )
