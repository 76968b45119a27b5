"""Real images as a model's graph takes them, from files, folders, videos and bags."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seg_ros.bag_storage import is_bag
from seg_ros.bags import Bag
from seg_ros.evaluation.skips import Skips
from seg_ros.picture_sources import open_pictures
from seg_ros.preprocess import place, to_network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seg_ros.model_card import InputSpec

_MIN_CONTRAST = 8  # of 255, between the darkest and the brightest pixel of a channel
_GROUND_TRUTH = '/ground_truth/labels'


def load_calibration(
    paths: Sequence[Path],
    topics: tuple[str | None, str | None],
    spec: InputSpec,
    limit: int,
) -> tuple[list[np.ndarray], str]:
    """Read images as the graph takes them, evenly spaced over all that is there.

    Args:
        paths: Images, folders of them, videos or bags.
        topics: Of the images and of the labels in bags; by default the only one that holds
            images.
        spec: Size to bring them to.
        limit: How many at most.

    Returns:
        (h, w, 3) uint8 RGB each, and what they are, in words.

    Raises:
        FileNotFoundError: If a path does not exist.
        ValueError: If one is neither of these, or there is no image.
    """
    sources = []
    for path in paths:
        topic = _image_topic(path, *topics) if is_bag(path) else None
        sources.append(open_pictures([path], topic)[1])
    skips = Skips()
    step = max(1, -(-sum(map(len, sources)) // limit))
    chosen = itertools.islice(
        itertools.chain.from_iterable(source.read(skips) for source in sources), 0, None, step
    )
    images = []
    for picture in chosen:
        image = picture.image_rgb
        if np.ptp(image, axis=(0, 1)).max() < _MIN_CONTRAST:
            skips.add('picture of one colour, which says nothing of the net', picture.name)
            continue
        network_hwc = to_network(image, place(image.shape[:2], spec), 'rgb', spec.mean)
        images.append(np.ascontiguousarray(network_hwc))
    for line in skips.lines():
        print(f'skipped: {line}')
    names = ', '.join(path.resolve().name for path in paths)
    if not images:
        raise ValueError(f'{names}: no image to calibrate with')
    return images, names


def _image_topic(path: Path, image_topic: str | None, label_topic: str | None) -> str:
    with Bag(path) as bag:
        if image_topic in bag.topics:
            return str(image_topic)
        return bag.only_image_topic(label_topic or _GROUND_TRUTH)
