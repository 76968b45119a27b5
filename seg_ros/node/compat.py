"""What differs between the living distributions. Each part says with which of them it can go."""

from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING, Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ModuleNotFoundError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.parameter import Parameter

__all__ = [
    'PROFILE_VARIABLES',
    'PublisherEventCallbacks',
    'add_post_set_parameters_callback',
    'profile_variable',
    'stay_on_this_machine',
    'subscription_events',
]

# Fast DDS 2 (Humble, Jazzy) reads the first; Fast DDS 3 the second, and warns about the first.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')


def profile_variable() -> str:
    """Name of the variable with the profile of Fast DDS. Goes with Jazzy."""
    is_kilted_or_later = hasattr(rclpy, 'InitContextManager')  # came with it
    return PROFILE_VARIABLES[is_kilted_or_later]


def stay_on_this_machine() -> None:
    """Let DDS find nobody on other machines, unless the user chose. Goes with Humble."""
    if _is_humble():
        os.environ.setdefault('ROS_LOCALHOST_ONLY', '1')
    else:  # and warn about the other one
        os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')


def subscription_events(
    *,
    matched: Callable[[Any], None],
    incompatible_qos: Callable[[Any], None],
    message_lost: Callable[[Any], None],
) -> SubscriptionEventCallbacks:
    """Callbacks for the events of a subscription. Goes with Humble.

    Args:
        matched: Called when a publisher comes or goes; Humble has no such event.
        incompatible_qos: Called when a publisher's QoS does not serve.
        message_lost: Called when messages were lost on their way.
    """
    callbacks = {'incompatible_qos': incompatible_qos, 'message_lost': message_lost}
    if 'matched' in inspect.signature(SubscriptionEventCallbacks).parameters:
        callbacks['matched'] = matched
    return SubscriptionEventCallbacks(**callbacks)


def add_post_set_parameters_callback(
    node: Node, callback: Callable[[list[Parameter]], None]
) -> None:
    """Call ``callback`` once a change of parameters has been accepted. Goes with Humble.

    To be called before the checks are added: Humble has checks only, the one that was added first
    runs last, and what all of them accept is set.
    """
    if not _is_humble():
        node.add_post_set_parameters_callback(callback)
        return

    def accept(parameters: list[Parameter]) -> SetParametersResult:
        callback(parameters)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(accept)


def _is_humble() -> bool:
    return not hasattr(Node, 'add_post_set_parameters_callback')
