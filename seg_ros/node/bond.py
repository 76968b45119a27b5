"""The bond by which Nav2's lifecycle manager notices that a node died."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:  # some distributions have it
    from bondpy.bondpy import Bond
except ImportError:
    Bond = None

if TYPE_CHECKING:
    from rclpy.node import Node

# As Nav2's own nodes have them.
TOPIC, HEARTBEAT_PERIOD_S, HEARTBEAT_TIMEOUT_S = 'bond', 0.25, 4.0


def form_bond(node: Node) -> Any:
    """Offer a bond under the node's name, as Nav2's nodes do when they are activated.

    Returns:
        It, to be ended by ``shutdown()``; None where bondpy is not installed: the manager needs
        ``bond_timeout: 0.0`` there.
    """
    if Bond is None:
        node.get_logger().info(
            'no bond is formed, as bondpy is not installed; a lifecycle manager of Nav2 needs '
            'bond_timeout: 0.0'
        )
        return None
    bond = Bond(node, TOPIC, node.get_name())
    bond.heartbeat_period = HEARTBEAT_PERIOD_S
    bond.heartbeat_timeout = HEARTBEAT_TIMEOUT_S
    bond.start()
    return bond
