"""The topics of a camera: what remappings make of them, checked before they are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rclpy.exceptions import InvalidTopicNameException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_topic_name import validate_topic_name

from seg_ros.model_card import MAX_CLASS_NAME
from seg_ros.node.config import COMPRESSED, NodeConfig, camera_info_topic
from seg_ros.node.interface import MASK_PREFIX
from seg_ros.schema import quoted

if TYPE_CHECKING:
    from rclpy.node import Node

_SUFFIX = f'/{COMPRESSED}'
_LONGEST_OUTPUT = MASK_PREFIX + 'x' * MAX_CLASS_NAME


@dataclass(frozen=True)
class CameraTopics:
    """What is subscribed for a camera, as ``create_subscription`` takes it, before remapping."""

    image: str
    camera_info: str


def camera_topics(node: Node, image_topic: str, config: NodeConfig) -> CameraTopics:
    """Name the topics of a camera as image_transport does: beside the *resolved* image topic.

    ``-r image:=/front/image_raw`` moves ``image/compressed`` and ``camera_info`` to ``/front``
    with it. A remapping that names one of these itself goes first.

    Args:
        node: Whose remappings count.
        image_topic: One of ``config.image_topics``; ``/compressed`` may stand at its end.
        config: The node's settings.
    """
    image = image_topic
    if config.image_transport == COMPRESSED:
        raw = image_topic.removesuffix(_SUFFIX)
        beside = node.resolve_topic_name(raw).removesuffix(_SUFFIX) + _SUFFIX
        image = _remapped_itself(node, raw + _SUFFIX) or beside
    info = camera_info_topic(node.resolve_topic_name(image))
    return CameraTopics(image, _remapped_itself(node, camera_info_topic(image_topic)) or info)


def _remapped_itself(node: Node, name: str) -> str:
    """The name, where a remapping has it; else nothing."""
    resolved = node.resolve_topic_name(name)
    return name if resolved != node.resolve_topic_name(name, only_expand=True) else ''


def check_topics(node: Node, config: NodeConfig) -> None:
    """Refuse image topics that could not be subscribed, or whose outputs could not be published.

    Raises:
        ValueError: Naming the topic and what is wrong with it.
    """
    cameras: dict[str, str] = {}
    for topic, prefix in config.camera_names().items():
        _check_name(node, topic, topic)
        try:
            names = camera_topics(node, topic, config)
        except RuntimeError as error:  # rcl, of a name that is too long
            raise ValueError(_refusal(topic, error)) from error
        for name in (names.image, names.camera_info, f'~/{prefix}{_LONGEST_OUTPUT}'):
            _check_name(node, name, topic)
        resolved = node.resolve_topic_name(names.image)
        if (other := cameras.setdefault(resolved, topic)) != topic:
            raise ValueError(
                f'image_topics: {quoted(other)} and {quoted(topic)} are both {resolved}'
            )


def _check_name(node: Node, name: str, image_topic: str) -> None:
    if '\0' in name:  # where rcl stops to read
        raise ValueError(_refusal(name, 'it has a character 0'))
    try:
        validate_topic_name(name)
        full = expand_topic_name(name, node.get_name(), node.get_namespace())
        validate_full_topic_name(full)
    except (InvalidTopicNameException, ValueError) as error:
        of = '' if name == image_topic else f', made of {quoted(image_topic)}'
        raise ValueError(_refusal(name, error) + of) from error


def _refusal(name: str, reason: object) -> str:
    """A line of what rclpy and rcl say, without their places in the source."""
    text = str(reason).partition('\n')[0].partition(', at /')[0].rstrip(':')
    text = text.removeprefix('Invalid topic name: ')
    return f'image_topics: {quoted(name)} is no topic name: {text}'
