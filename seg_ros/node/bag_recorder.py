"""Takes messages off topics, still serialised, with the moment of their arrival."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from seg_ros.bags import BagMessage, header_stamp_ns
from seg_ros.node.bag_player import serialized_qos
from seg_ros.node.message_types import message_class

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rclpy.node import Node


class BagRecorder:
    """Keeps the messages of stamped topics, byte for byte.

    Args:
        node: Owner of the subscriptions.
        topics: Topic name -> type as ``package/msg/Name``; the types begin with a header.

    Attributes:
        messages: Topic -> header stamp in ns -> message; ``time_ns`` is the header's stamp, so
            that the topics of a replayed bag stay in step.
        arrivals_s: Topic -> header stamp in ns -> ``time.monotonic()`` of the arrival.
    """

    def __init__(self, node: Node, topics: Mapping[str, str]) -> None:
        self.messages: dict[str, dict[int, BagMessage]] = {name: {} for name in topics}
        self.arrivals_s: dict[str, dict[int, float]] = {name: {} for name in topics}
        for name, kind in topics.items():
            node.create_subscription(
                message_class(kind),
                name,
                lambda data, name=name, kind=kind: self._keep(name, kind, data),
                serialized_qos(),
                raw=True,
            )

    def clear(self) -> None:
        """Forget what was kept so far."""
        for name in self.messages:
            self.messages[name].clear()
            self.arrivals_s[name].clear()

    def _keep(self, name: str, kind: str, data: bytes) -> None:
        try:
            stamp_ns = header_stamp_ns(data)
        except ValueError:  # of a stranger who publishes there
            return
        self.arrivals_s[name][stamp_ns] = time.monotonic()
        self.messages[name][stamp_ns] = BagMessage(name, kind, stamp_ns, data)
