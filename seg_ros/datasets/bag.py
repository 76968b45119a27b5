"""A rosbag2 with an image topic and a topic of labels, as ``seg_ros`` and others record them."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from seg_ros.bags import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE, Bag, BagMessage, header_stamp_ns
from seg_ros.datasets.folder import classes_from_list
from seg_ros.datasets.image_files import check_split, map_ids
from seg_ros.datasets.sample import Sample
from seg_ros.model_card import VOID_ID, ClassInfo

_IMAGES = (IMAGE_TYPE, COMPRESSED_IMAGE_TYPE)


class LabelledBag:
    """Images of a bag with the labels of the same stamp, in the order of the recording.

    Args:
        folder: The bag: the folder that holds ``metadata.yaml``.
        split: ``all``; divide it with ``split.mode=blocked``, neighbouring frames are alike.
        classes: YAML file with a list ``classes`` of id, name and color: a ``classes.yaml`` or
            the ``model.yaml`` of a model.
        image_topic: Image or CompressedImage; the only one that is not the labels' when empty.
        label_topic: Image (mono8) or CompressedImage (PNG) of ids.
        void_ids: Ids that are no class; 255 always is void.
        tolerance_ms: How far the stamps of image and labels may differ.

    Raises:
        FileNotFoundError: If the bag or the file of classes is missing.
        ValueError: If a topic is missing, no stamps agree, or the classes are wrong.
    """

    classes: tuple[ClassInfo, ...]
    names: tuple[str, ...]

    def __init__(
        self,
        folder: Path,
        split: str = 'all',
        classes: str = '',
        image_topic: str = '',
        label_topic: str = '/ground_truth/labels',
        void_ids: tuple[int, ...] | list[int] = (),
        tolerance_ms: float = 0.0,
    ) -> None:
        check_split(split, ('all',))
        self.classes = _load_classes(Path(classes))
        self._ids = {entry.id: entry.id for entry in self.classes}
        self._ids |= {int(value): VOID_ID for value in void_ids}
        self._folder, self._lock = folder, threading.Lock()
        self._bag: Bag | None = None
        self._process = 0
        with Bag(folder) as bag:
            self._image_topic = image_topic or _only_image_topic(bag, label_topic)
            bag.topic(self._image_topic, _IMAGES)
            bag.topic(label_topic, _IMAGES)
            self._label_topic = label_topic
            self._pairs = self._pair(bag, round(tolerance_ms * 1e6))
        if not self._pairs:
            raise ValueError(
                f'{folder}: no image of {self._image_topic} has the stamp of a message of '
                f'{label_topic}; try a larger tolerance_ms'
            )
        self.names = tuple(f'{stamp}' for stamp, _, _ in self._pairs)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        """Decode sample ``index``; raises ``ValueError`` for a broken message or unknown id."""
        stamp, image_time, label_time = self._pairs[index]
        with self._lock:  # the storage has one read position
            bag = self._open()
            image_message = self._read(bag, self._image_topic, image_time, stamp)
            label_message = self._read(bag, self._label_topic, label_time, None)
            decoded = bag.decode_image(image_message)
            stored = bag.decode_labels(label_message)
        where = self._folder / f'{self._label_topic.strip("/")}@{stamp}'
        labels, remarks = map_ids(stored, self._ids, where)
        image = decoded.pixels if decoded.order == 'rgb' else decoded.pixels[:, :, ::-1]
        if image.shape[:2] != labels.shape:
            raise ValueError(
                f'{where}: (rows, columns) are {image.shape[:2]} and of the labels {labels.shape}'
            )
        return Sample(np.ascontiguousarray(image), labels, self.names[index], remarks)

    def _open(self) -> Bag:
        """The bag, opened again in every process: files are not shared over a fork."""
        if self._bag is None or self._process != os.getpid():
            self._bag, self._process = Bag(self._folder), os.getpid()
        return self._bag

    def _read(self, bag: Bag, topic: str, time_ns: int, stamp: int | None) -> BagMessage:
        for message in bag.read_messages((topic,), start_ns=time_ns, stop_ns=time_ns + 1):
            if stamp is None or header_stamp_ns(message.data) == stamp:
                return message
        raise ValueError(f'{self._folder}: the message of {topic} at {time_ns} is gone')

    def _pair(self, bag: Bag, tolerance_ns: int) -> list[tuple[int, int, int]]:
        """(stamp of the image, time of its recording, time of the labels' recording)."""
        images: list[tuple[int, int]] = []
        labels: list[tuple[int, int]] = []
        for message in bag.read_messages((self._image_topic, self._label_topic)):
            target = images if message.topic == self._image_topic else labels
            target.append((header_stamp_ns(message.data), message.time_ns))
        if not labels:
            return []
        labels.sort()
        stamps = np.array([stamp for stamp, _ in labels])
        pairs = []
        for stamp, time_ns in images:
            right = int(np.searchsorted(stamps, stamp))
            near = min(
                (i for i in (right - 1, right) if 0 <= i < len(labels)),
                key=lambda i: abs(int(stamps[i]) - stamp),
            )
            if abs(int(stamps[near]) - stamp) <= tolerance_ns:
                pairs.append((stamp, time_ns, labels[near][1]))
        return pairs


def _only_image_topic(bag: Bag, label_topic: str) -> str:
    found = [t.name for t in bag.topics.values() if t.type in _IMAGES and t.name != label_topic]
    if len(found) != 1:
        raise ValueError(f'{bag.path}: image topics {found}; choose one with image_topic')
    return found[0]


def _load_classes(path: Path) -> tuple[ClassInfo, ...]:
    if not path.is_file():
        raise FileNotFoundError(
            f'classes: {str(path)!r} does not exist; give a classes.yaml or a model.yaml with the '
            'ids, names and colours of the label topic'
        )
    raw: Any = yaml.safe_load(path.read_text(encoding='utf-8'))
    if not isinstance(raw, dict) or 'classes' not in raw:
        raise ValueError(f'{path}: expected a mapping with "classes"')
    return classes_from_list(raw['classes'], path)
