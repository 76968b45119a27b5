"""Who publishes images, and why those of a topic may not arrive, in words for the user."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from seg_ros.node.compat import profile_variable
from seg_ros.share import share_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rclpy.node import Node

IMAGE, COMPRESSED_IMAGE = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
BEST_EFFORT, RELIABLE = 'best_effort', 'reliable'
_COMPRESSED = '/compressed'
_MAX_NAMED = 5


class Source(NamedTuple):
    """A publisher: its node, the type of its messages, its reliability."""

    node: str
    type: str
    reliability: str

    def __str__(self) -> str:
        return f'{self.node} ({self.type}, {self.reliability})'


def find_sources(node: Node, topic: str) -> list[Source]:
    """List the publishers of a resolved topic, whatever they publish."""
    return [
        Source(
            f'{info.node_namespace.rstrip("/")}/{info.node_name}',
            info.topic_type,
            info.qos_profile.reliability.name.lower(),
        )
        for info in node.get_publishers_info_by_topic(topic)
    ]


def find_images(node: Node) -> dict[str, str]:
    """List the image topics that others publish: name -> type."""
    own = f'{node.get_fully_qualified_name()}/'
    return {
        topic: kind
        for topic, kinds in node.get_topic_names_and_types()
        for kind in kinds
        if kind in (IMAGE, COMPRESSED_IMAGE)
        and not topic.startswith(own)
        and node.count_publishers(topic)
    }


def explain_absence(
    topic: str, kind: str, sources: Sequence[Source], images: Mapping[str, str]
) -> str:
    """Say why nobody publishes a topic, or what is published instead.

    Args:
        topic: Resolved name.
        kind: Type that is asked for.
        sources: Publishers of the topic, all of other types.
        images: Of ``find_images``.
    """
    if sources:
        return f'{topic} is published as another type than {kind}: {_named(sources)}'
    if kind == IMAGE and images.get(topic + _COMPRESSED) == COMPRESSED_IMAGE:
        return (
            f'nobody publishes {topic}, only {topic}{_COMPRESSED}; set the parameter '
            'image_transport to compressed'
        )
    raw = topic.removesuffix(_COMPRESSED)
    if kind == COMPRESSED_IMAGE and images.get(raw) == IMAGE:
        return f'nobody publishes {topic}, only {raw}; set the parameter image_transport to raw'
    fitting = sorted(name for name, its_kind in images.items() if its_kind == kind)
    if not fitting:
        return f'nobody publishes {topic}, nor any other {kind}'
    more = ', ...' if len(fitting) > _MAX_NAMED else ''
    return (
        f'nobody publishes {topic}; {kind} is published on {", ".join(fitting[:_MAX_NAMED])}'
        f'{more}: set the parameter image_topics'
    )


def explain_silence(topic: str, sources: Sequence[Source], asked: str) -> str:
    """Say why nothing may arrive from publishers that are there, and what helps.

    Args:
        topic: Resolved name.
        sources: Publishers of the topic, of the right type.
        asked: Reliability that the subscription asks for.
    """
    text = f'nothing arrives on {topic} from {_named(sources)}'
    if asked == RELIABLE and all(source.reliability == BEST_EFFORT for source in sources):
        return (
            f'{text}, as reliable is asked for; set the parameter input_reliability to auto or '
            'best_effort'
        )
    return (
        f'{text}. Either it sends nothing (`ros2 topic hz {topic}`), or its images are larger '
        f"than its middleware's shared memory: {_cure()}"
    )


def explain_loss(loss: str, sources: Sequence[Source]) -> str:
    """Say why frames may be lost on their way, and what helps.

    Args:
        loss: How many, of which topic.
        sources: Publishers of the topic, of the right type.
    """
    return (
        f'{loss} on their way from {_named(sources)}. Images that are larger than the '
        f"sender's shared memory go through sockets in pieces: {_cure()}, or let it publish "
        'reliably'
    )


def _cure() -> str:
    return f'start the sender with {profile_variable()} set to {share_file("config/fastdds.xml")}'


def _named(sources: Sequence[Source]) -> str:
    more = ', ...' if len(sources) > _MAX_NAMED else ''
    return ', '.join(map(str, sources[:_MAX_NAMED])) + more
