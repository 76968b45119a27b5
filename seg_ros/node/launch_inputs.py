"""Which images a launched node listens to: its file's, or the bag's. No launch here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from seg_ros.bags import COMPRESSED_IMAGE_TYPE, Bag
from seg_ros.node.config import COMPRESSED, RAW, NodeConfig
from seg_ros.schema import settings_of

# Where a bag keeps true labels, which are an image, too; as in evaluate.launch.py.
_LABEL_TOPIC = '/ground_truth/labels'


def file_parameters(path: str | Path, node: str) -> dict[str, Any]:
    """Read what a parameter file of ROS says to a node.

    Args:
        path: YAML with node names, ``**`` among them, over ``ros__parameters``.
        node: Full name of the node.

    Returns:
        The values of fields of ``NodeConfig``; whether others are right the node decides.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no parameter file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'params_file:={path}: no such file')
    try:
        content = yaml.safe_load(Path(path).read_text(encoding='utf-8')) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f'params_file:={path} is no YAML: {error}') from error
    if not isinstance(content, dict):
        raise ValueError(f'params_file:={path}: expected node names, got {content!r}')
    known = {setting.name for setting in settings_of(NodeConfig)}
    found = _sections_of(content, '', node)
    return {name: value for name, value in found.items() if name in known}


def bag_parameters(
    bag_path: str | Path, config: NodeConfig, namespace: str, *, chosen: bool
) -> dict[str, Any]:
    """Check that a bag holds images for the node, and find them where nobody named them.

    Args:
        bag_path: Folder of the rosbag2.
        config: The node's settings.
        namespace: That of the node.
        chosen: Whether the image topics were asked for, and must be there.

    Returns:
        Parameters that make the node listen to the bag's only image topic; none where it does.

    Raises:
        FileNotFoundError: If there is no such bag.
        ValueError: If it is no bag or has no image for the node; lists its topics.
    """
    with Bag(bag_path) as bag:
        inputs = [_absolute(config.input_topic(topic), namespace) for topic in config.image_topics]
        if any(topic in bag.topics for topic in inputs):
            return {}
        if chosen:
            bag.topic(inputs[0])
        topic = bag.only_image_topic(_LABEL_TOPIC)
        is_compressed = bag.topic(topic).type == COMPRESSED_IMAGE_TYPE
    return {
        'image_topics': [topic.removesuffix(f'/{COMPRESSED}') if is_compressed else topic],
        'image_transport': COMPRESSED if is_compressed else RAW,
    }


def _sections_of(content: dict[str, Any], above: str, node: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, section in content.items():
        name = f'{above}/{str(key).strip("/")}'
        if not isinstance(section, dict):
            continue
        parameters = section.get('ros__parameters')
        if isinstance(parameters, dict) and _pattern(name).fullmatch(node):
            found |= parameters
        found |= _sections_of(
            {k: v for k, v in section.items() if k != 'ros__parameters'}, name, node
        )
    return found


def _pattern(name: str) -> re.Pattern[str]:
    """Of node names: ``/**`` stands for any namespaces, ``/*`` for one."""
    wildcards = {'**': '(/[^/]+)*', '*': '/[^/]+'}
    parts = name.strip('/').split('/')
    return re.compile(''.join(wildcards.get(part, f'/{re.escape(part)}') for part in parts))


def _absolute(topic: str, namespace: str) -> str:
    return (
        topic if topic.startswith('/') else f'/{namespace.strip("/")}/{topic}'.replace('//', '/')
    )
