"""Bags and folders of coloured scenes whose labels the tiny model gets mostly right."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from seg_ros.bags import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE
from seg_ros.evaluation.recording import to_image_message

IMAGE_TOPIC, LABEL_TOPIC = '/camera/image_raw/compressed', '/ground_truth/labels'
TYPES = get_typestore(Stores.ROS2_JAZZY)
PERIOD_NS = 100_000_000
START_NS = 1_700_000_000 * 10**9


def scene(seed, height=48, width=64):
    """Coloured rectangles with noise, (H, W, 3) uint8 RGB, and labels that are partly wrong."""
    rng = np.random.default_rng(seed)
    labels = np.full((height, width), 1, np.uint8)
    for class_id in (0, 2, 0):
        y, x = rng.integers(0, height - 16), rng.integers(0, width - 20)
        labels[y : y + 16, x : x + 20] = class_id
    image = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
    image[np.arange(height)[:, None], np.arange(width), labels] += 110
    truth = labels.copy()
    truth[:, : 3 + seed % 9] = 2  # where truth and picture disagree
    truth[:4] = 255
    return image, truth


def compressed_message(image_rgb, stamp_ns, suffix='.jpg'):
    data = cv2.imencode(suffix, cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))[1].ravel()
    stamp = TYPES.types['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10**9))
    header = TYPES.types['std_msgs/msg/Header'](stamp=stamp, frame_id='camera')
    kind = TYPES.types[COMPRESSED_IMAGE_TYPE]
    message = kind(header=header, format=f'bgr8; {suffix[1:]} compressed bgr8', data=data)
    return bytes(TYPES.serialize_cdr(message, COMPRESSED_IMAGE_TYPE))


@dataclass
class BagBuilder:
    """Messages in the order of their recording; tests change the lists before ``save``."""

    images: list[tuple[int, bytes]] = field(default_factory=list)  # (recorded at, message)
    labels: list[tuple[int, bytes]] = field(default_factory=list)

    def add(self, image_rgb, labels_hw, stamp_ns, label_stamp_ns=None, suffix='.jpg'):
        self.images.append((stamp_ns, compressed_message(image_rgb, stamp_ns, suffix)))
        if labels_hw is not None:
            label_stamp_ns = label_stamp_ns or stamp_ns
            message = to_image_message(labels_hw, 'mono8', label_stamp_ns, 'camera')
            self.labels.append((stamp_ns + 1, message))

    def save(self, path, storage=StoragePlugin.MCAP):
        with Writer(path, version=9, storage_plugin=storage) as writer:
            images = writer.add_connection(IMAGE_TOPIC, COMPRESSED_IMAGE_TYPE, typestore=TYPES)
            labels = writer.add_connection(LABEL_TOPIC, IMAGE_TYPE, typestore=TYPES)
            entries = [(t, images, data) for t, data in self.images]
            entries += [(t, labels, data) for t, data in self.labels]
            for time_ns, connection, data in sorted(entries, key=lambda entry: entry[0]):
                writer.write(connection, time_ns, data)
        return path


def build_bag(count=8, suffix='.jpg'):
    builder = BagBuilder()
    for index in range(count):
        builder.add(*scene(index), START_NS + index * PERIOD_NS, suffix=suffix)
    return builder


@pytest.fixture
def bag(tmp_path) -> Path:
    """Eight frames with labels."""
    return build_bag().save(tmp_path / 'drive')
