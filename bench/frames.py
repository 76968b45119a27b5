"""The frames that everything is measured on: rendered scenes of the bag that ships here."""

from __future__ import annotations

import cv2
import numpy as np

from seg_ros.bags import Bag
from seg_ros.share import share_file

VGA, FULL_HD = (480, 640), (1080, 1920)  # rows, columns

_BAG, _TOPIC = 'demo/robocup_scenes', '/camera/image_raw/compressed'


def read_frames(size_hw: tuple[int, int], count: int = 8) -> list[np.ndarray]:
    """Read the first frames of the bag, resized: (H, W, 3) uint8 BGR each, contiguous."""
    height, width = size_hw
    with Bag(share_file(_BAG)) as bag:
        images = (bag.decode_image(each) for each in bag.read_messages([_TOPIC]))
        frames = []
        for image, _ in zip(images, range(count), strict=False):
            pixels = image.pixels if image.order == 'bgr' else image.pixels[..., ::-1]
            frames.append(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR))
    return frames
