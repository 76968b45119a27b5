"""The parameters ``qos_overrides.<topic>.<publisher or subscription>.<policy>``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSPolicyKind, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from seg_ros.node.parameters import given_parameters
from seg_ros.schema import quoted

if TYPE_CHECKING:
    from rclpy.node import Node

_PREFIX = 'qos_overrides.'
_VALUES = {
    'history': HistoryPolicy,
    'durability': DurabilityPolicy,
    'reliability': ReliabilityPolicy,
}
_POLICIES = {name: QoSPolicyKind[name.upper()] for name in (*_VALUES, 'depth')}
_MAX_DEPTH = 1000  # messages; images among them


def check_qos_overrides(node: Node) -> None:
    """Refuse values that would fail once the topic is made.

    Raises:
        ValueError: Naming the parameter and what is allowed.
    """
    for name, parameter in given_parameters(node).items():
        if not name.startswith(_PREFIX):
            continue
        policy, value = name.rpartition('.')[2], parameter.value
        if policy in _VALUES:
            allowed = [entry.lower() for entry in _VALUES[policy].__members__ if _is_choice(entry)]
            if not isinstance(value, str) or value.lower() not in allowed:
                raise ValueError(
                    f'{name}: {quoted(value)} is unknown; available: {", ".join(allowed)}'
                )
        elif policy == 'depth' and not _is_depth(value):
            raise ValueError(f'{name}: {quoted(value)} is no number from 1 to {_MAX_DEPTH}')


def overriding_options(node: Node, topic: str, endpoint: str) -> QoSOverridingOptions:
    """Let the overrides that were given act on an endpoint.

    rclpy would declare a parameter for every policy, with what the code chose for a value. The
    next dump would make overrides of them, and topics that come and go would leave them behind.

    Args:
        node: Whose parameters count.
        topic: Resolved.
        endpoint: ``publisher`` or ``subscription``.
    """
    names = _given(node, topic, endpoint)
    return QoSOverridingOptions([_POLICIES[name] for name in names if name in _POLICIES])


def reliability_override(node: Node, topic: str) -> str:
    """The reliability that was given for the subscription of a topic; empty where none was."""
    return str(_given(node, topic, 'subscription').get('reliability', '')).lower()


def _given(node: Node, topic: str, endpoint: str) -> dict[str, Any]:
    """Overrides of an endpoint: policy -> value."""
    prefix = f'{_PREFIX}{topic}.{endpoint}.'
    return {
        name.removeprefix(prefix): parameter.value
        for name, parameter in given_parameters(node).items()
        if name.startswith(prefix)
    }


def _is_choice(entry: str) -> bool:
    """Whether a policy of rclpy is one to choose; some are old spellings or mean none."""
    return entry.isupper() and entry != 'UNKNOWN' and not entry.startswith('RMW_')


def _is_depth(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MAX_DEPTH
