"""Fixtures that everything shares: a tiny model whose answer can be told from the picture."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from seg_ros.model_card import GRAPH_FILE, ClassInfo, InputSpec, ModelCard, save_model_card
from test.libraries import (
    collect_ignore,  # noqa: F401 - what pytest reads
    pytest_make_collect_report,  # noqa: F401 - a hook
    pytest_report_header,  # noqa: F401 - a hook
    pytest_runtest_makereport,  # noqa: F401 - a hook
)
from test.primary_graph import read_graph
from test.ros_domain import claim_ros_domain

# Before rclpy is imported anywhere: the tests' DDS stays on this machine, away from other robots.
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
if os.environ.get('ROS_DISTRO') == 'humble':  # it knows that one only
    os.environ['ROS_LOCALHOST_ONLY'] = '1'
claim_ros_domain()
if 'PYTEST_XDIST_WORKER' in os.environ:  # workers share the cores: threads would wait for them
    os.environ.setdefault('OMP_NUM_THREADS', '1')

PRIMARY_CLASSES = (
    ClassInfo(0, 'red', (255, 0, 0)),
    ClassInfo(1, 'green', (0, 255, 0)),
    ClassInfo(2, 'blue', (0, 0, 255)),
)


def write_primary_model(
    folder: Path,
    *,
    height: int = 48,
    width: int = 64,
    stride: int = 4,
    classes: tuple[ClassInfo, ...] = PRIMARY_CLASSES,
) -> Path:
    """Write a model that says which of red, green and blue is the strongest at a pixel."""
    folder.mkdir(parents=True)
    (folder / GRAPH_FILE).write_bytes(read_graph(height, width, stride))
    card = ModelCard(
        name=folder.name,
        net='mini_unet',
        classes=classes,
        input=InputSpec(height_px=height, width_px=width, logits_stride=stride),
        files={GRAPH_FILE: ''},
    )
    save_model_card(card, folder)
    return folder


@pytest.fixture(scope='session')
def primary_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a 64x48 model with classes red, green and blue."""
    return write_primary_model(tmp_path_factory.mktemp('models') / 'primary')


def stripes(height: int = 48, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Three upright bars: (H, W, 3) uint8 RGB and the (H, W) uint8 ids that they show."""
    ids = np.minimum(np.arange(width) * 3 // width, 2).astype(np.uint8)
    labels = np.broadcast_to(ids, (height, width)).copy()
    image = np.zeros((height, width, 3), np.uint8)
    image[np.arange(height)[:, None], np.arange(width)[None], labels] = 230
    return image, labels
