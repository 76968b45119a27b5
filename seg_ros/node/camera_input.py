"""The subscriptions of one camera, and the choice of their reliability."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from seg_ros.node.camera_topics import camera_topics
from seg_ros.node.compat import subscription_events
from seg_ros.node.config import COMPRESSED, NodeConfig
from seg_ros.node.publisher import WEAKER_STRONGER
from seg_ros.node.qos_overrides import overriding_options, reliability_override
from seg_ros.node.seldom_log import SeldomLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

_RELIABLE, _BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT


class CameraInput:
    """Subscribes to the image and the calibration of a camera.

    A reader that asks for best effort gets best effort even from a reliable writer, and large
    frames then get lost; one that asks for reliable gets nothing from a best-effort writer. With
    ``input_reliability: auto`` there is a reader for each reliability that a publisher offers, so
    that a publisher that comes and goes costs the others nothing. A reliable writer that both
    readers hear is heard once.

    Args:
        node: Owner of the subscriptions.
        image_topic: One of ``config.image_topics``.
        config: The node's settings.
        on_image: Called in the executor with the message.
        on_camera_info: The same with the messages of the calibration.
        on_loss: Called with the number of frames that were lost on their way.
    """

    def __init__(
        self,
        node: Node,
        image_topic: str,
        config: NodeConfig,
        on_image: Callable[[Any], None],
        on_camera_info: Callable[[CameraInfo], None],
        on_loss: Callable[[int], None],
    ) -> None:
        self._node = node
        self._on_image = on_image
        self._on_loss = on_loss
        self._kind = CompressedImage if config.image_transport == COMPRESSED else Image
        self._names = camera_topics(node, image_topic, config)
        self._topic = node.resolve_topic_name(self._names.image)
        self._complain = SeldomLog(node.get_logger().error)
        self._tell = SeldomLog(node.get_logger().info)
        self._fixed = _fixed_reliability(node, self._topic, config)
        self._readers: dict[ReliabilityPolicy, Any] = {}
        self._last: dict[ReliabilityPolicy, tuple[int, int, str]] = {}  # stamp and frame of each
        # An event callback must not destroy the subscription that it belongs to.
        self._graph_changed = node.create_guard_condition(self.reconsider)
        self.reconsider()
        self._info = node.create_subscription(
            CameraInfo,
            self._names.camera_info,
            on_camera_info,
            # Each is paired with its image, so that none may be replaced by the next.
            QoSProfile(depth=10, reliability=_BEST_EFFORT),
            qos_overriding_options=overriding_options(
                node, node.resolve_topic_name(self._names.camera_info), 'subscription'
            ),
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
        """The least that is asked for: ``reliable`` or ``best_effort``."""
        asked = {reader.qos_profile.reliability for reader in self._readers.values()}
        return 'reliable' if asked == {_RELIABLE} else 'best_effort'

    def destroy(self) -> None:
        """Stop taking messages."""
        self._node.destroy_guard_condition(self._graph_changed)
        for reader in self._readers.values():
            self._node.destroy_subscription(reader)
        self._readers.clear()
        self._node.destroy_subscription(self._info)

    def reconsider(self) -> None:
        """Subscribe as the publishers offer.

        Events trigger it; the node's timer too, as an event may come before the graph has it.
        """
        wanted, present = self._wanted(), set(self._readers)
        if wanted == present:
            return
        for reliability in wanted - present:
            self._readers[reliability] = self._subscribe(reliability)
        for reliability in present - wanted:
            self._node.destroy_subscription(self._readers.pop(reliability))
            self._last.pop(reliability, None)
        if present:
            kinds = ' and '.join(sorted(reliability.name.lower() for reliability in wanted))
            self._tell(f'{self._topic}: subscribed {kinds}, as its publishers are')

    def _wanted(self) -> set[ReliabilityPolicy]:
        """The reliability of each reader that should be there."""
        if self._fixed is not None:
            return {self._fixed}
        offers = self._node.get_publishers_info_by_topic(self._topic)
        kinds = {
            _RELIABLE if offer.qos_profile.reliability == _RELIABLE else _BEST_EFFORT
            for offer in offers
        }
        return kinds or set(self._readers) or {_RELIABLE}

    def _subscribe(self, reliability: ReliabilityPolicy) -> Any:
        events = subscription_events(
            matched=lambda _: self._graph_changed.trigger(),
            incompatible_qos=self._on_incompatible_qos,
            message_lost=self._on_message_lost,
        )
        return self._node.create_subscription(
            self._kind,
            self._names.image,
            functools.partial(self._receive, reliability),
            QoSProfile(
                reliability=reliability,
                durability=DurabilityPolicy.VOLATILE,
                history=HistoryPolicy.KEEP_LAST,
                depth=1,
            ),
            event_callbacks=events,
            qos_overriding_options=overriding_options(self._node, self._topic, 'subscription'),
        )

    def _receive(self, reliability: ReliabilityPolicy, message: Any) -> None:
        """Pass a frame on, unless the other reader has had it."""
        if len(self._readers) > 1:
            stamp = message.header.stamp
            frame = (stamp.sec, stamp.nanosec, message.header.frame_id)
            others = [last for other, last in self._last.items() if other != reliability]
            self._last[reliability] = frame
            if frame in others and any(frame[:2]):
                return
        self._on_image(message)

    def _on_message_lost(self, event: Any) -> None:
        # Of two readers the hasty one loses what the other one gets.
        if len(self._readers) == 1:
            self._on_loss(event.total_count_change)

    def _on_incompatible_qos(self, event: Any) -> None:
        self._graph_changed.trigger()
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        if self._fixed is None and policy == 'reliability':
            return  # cured by the reader that was just triggered
        offered, asked = WEAKER_STRONGER.get(policy, ('another', 'one'))
        self._complain(
            f'{self._topic}: {policy} {asked} is asked for and a publisher offers {offered}; none '
            f'of its frames arrives. Let it offer {asked}, or set the parameter '
            f'qos_overrides.{self._topic}.subscription.{policy} to {offered}'
            + (' (input_reliability: auto does so).' if policy == 'reliability' else '.')
        )


def _fixed_reliability(node: Node, topic: str, config: NodeConfig) -> ReliabilityPolicy | None:
    """What the user chose; None: as the publishers offer. An override goes first."""
    chosen = reliability_override(node, topic) or config.input_reliability
    return None if chosen == 'auto' else ReliabilityPolicy[chosen.upper()]
