"""Say as JSON what a node subscribes to where a rosbag2 is played; launch files ask it.

Without topics the only image topic of the bag is taken.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from seg_ros.bags import Bag, BagTopic

_SUFFIX = '/compressed'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('bag', type=Path, help='rosbag2 folder')
    parser.add_argument(
        'topics', nargs='*', metavar='topic', help='image topics that must be in it, raw or not'
    )
    parser.add_argument(
        '--labels', default='/ground_truth/labels', help='topic of true labels, if it has any'
    )
    parser.add_argument('--need-labels', action='store_true', help='fail where it has none')
    parser.add_argument(
        '--start', type=float, default=0.0, metavar='S', help='count labels from this second on'
    )


def run(args: argparse.Namespace) -> int:
    """Print image_topics and image_transport; label_transport and the number of labels."""
    from seg_ros.bags import Bag

    with Bag(args.bag) as bag:
        images = [
            _recorded(bag, topic) for topic in args.topics or [bag.only_image_topic(args.labels)]
        ]
        transports = {_transport(topic) for topic in images}
        if len(transports) > 1:
            raise ValueError(f'{args.bag}: raw and compressed images cannot be mixed: {images}')
        answer: dict[str, Any] = {
            'image_topics': [topic.name.removesuffix(_SUFFIX) for topic in images],
            'image_transport': transports.pop(),
        }
        has_labels = bool({args.labels, args.labels + _SUFFIX} & bag.topics.keys())
        if has_labels or args.need_labels:
            labels = _recorded(bag, args.labels)
            answer['label_transport'] = _transport(labels)
            answer['labels'] = _count(bag, labels, args.start)
            if args.need_labels and not answer['labels']:
                raise ValueError(f'{args.bag}: no labels on {labels.name} after {args.start:g} s')
    print(json.dumps(answer))
    return 0


def _recorded(bag: Bag, name: str) -> BagTopic:
    """Find an image topic by its own name, or by that of its raw images."""
    from seg_ros.bags import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE

    if name not in bag.topics and name + _SUFFIX in bag.topics:
        name += _SUFFIX
    topic = bag.topic(name, (IMAGE_TYPE, COMPRESSED_IMAGE_TYPE))
    if (topic.type == COMPRESSED_IMAGE_TYPE) != name.endswith(_SUFFIX):
        raise ValueError(
            f'{bag.path}: {name} is of type {topic.type}; compressed images, and no others, are '
            f'looked for under a name that ends in {_SUFFIX}'
        )
    return topic


def _transport(topic: BagTopic) -> str:
    return 'compressed' if topic.name.endswith(_SUFFIX) else 'raw'


def _count(bag: Bag, topic: BagTopic, start_s: float) -> int:
    """Messages from a second on; those of the whole bag are counted in its metadata."""
    if start_s <= 0:
        return topic.count
    start_ns = bag.start_ns + round(start_s * 1e9)
    return sum(1 for _ in bag.read_messages([topic.name], start_ns=start_ns))
