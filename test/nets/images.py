"""Where tests find real images and encoder weights, and what they use without them."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

DATA = Path(
    os.environ.get('SEG_ROS_DATA', Path(__file__).resolve().parents[3] / 'shared' / 'data')
)


def data_file(name):
    """A file of the data folder; skips the test where it is missing."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f'{path} is not here; set SEG_ROS_DATA to the data folder')
    return path


def scene(height, width, seed=0):
    """(height, width, 3) uint8: a soft background with discs and lines, no two pixels alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(6):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        color = tuple(int(value) for value in rng.integers(0, 256, 3))
        cv2.circle(image, centre, int(rng.integers(3, 12)), color, -1)
        end = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.line(image, centre, end, color[::-1], 2)
    noise = rng.normal(0, 6, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)
