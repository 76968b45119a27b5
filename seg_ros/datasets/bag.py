"""A recording with an image topic and a topic of labels, as ``seg_ros`` and others record them."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seg_ros.bags import IMAGE_TYPES, MISSING_MESSAGE, Bag, BagMessage, header_stamp_ns
from seg_ros.datasets.folder import load_classes
from seg_ros.datasets.image_files import check_split, map_ids
from seg_ros.datasets.sample import Sample
from seg_ros.model_card import VOID_ID, ClassInfo
from seg_ros.pairing import pair_stamps


class _Entry(NamedTuple):
    """Where a message is in the bag: its header's stamp, and when it was recorded."""

    stamp_ns: int | None
    time_ns: int


class LabelledBag:
    """Images of a bag with the labels of the same stamp, in the order of the recording.

    Images and labels are paired one to one, as for evaluation; what is left over is remarked.

    Args:
        folder: The bag, as ``Bag`` takes it.
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

    path_options = ('classes',)
    classes: tuple[ClassInfo, ...]
    names: tuple[str, ...]
    remarks: tuple[str, ...]

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
        self.classes, self._ids = load_classes(Path(classes))
        self._ids |= {int(value): VOID_ID for value in void_ids}
        self._folder, self._lock = folder, threading.Lock()
        self._bag: Bag | None = None
        self._process = 0
        with Bag(folder) as bag:
            self._image_topic = image_topic or bag.only_image_topic(label_topic)
            bag.topic(self._image_topic, IMAGE_TYPES)
            bag.topic(label_topic, IMAGE_TYPES)
            self._label_topic = label_topic
            self._pairs = self._pair(bag, round(tolerance_ms * 1e6))
        if not self._pairs:
            raise ValueError(
                f'{folder}: no image of {self._image_topic} has the stamp of a message of '
                f'{label_topic}; try a larger tolerance_ms'
            )
        self.names = tuple(f'{image.stamp_ns}' for image, _ in self._pairs)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        """Decode sample ``index``; raises ``ValueError`` for a broken message or unknown id."""
        image_entry, label_entry = self._pairs[index]
        with self._lock:  # the storage has one read position
            bag = self._open()
            image_message = self._read(bag, self._image_topic, image_entry)
            label_message = self._read(bag, self._label_topic, label_entry)
            decoded = bag.decode_image(image_message)
            stored = bag.decode_labels(label_message)
        where = self._folder / f'{self._label_topic.strip("/")}@{self.names[index]}'
        labels, remarks = map_ids(stored, self._ids, where)
        image = decoded.pixels if decoded.order == 'rgb' else decoded.pixels[:, :, ::-1]
        if image.shape[:2] != labels.shape:
            raise ValueError(
                f'{where}: (rows, columns) are {image.shape[:2]} and of the labels {labels.shape}'
            )
        return Sample(np.ascontiguousarray(image), labels, self.names[index], remarks)

    def __getstate__(self) -> dict[str, Any]:
        """Without the open bag and its lock, which no other process can use."""
        return {**self.__dict__, '_bag': None, '_lock': None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def _open(self) -> Bag:
        """The bag, opened again in every process: files are not shared over a fork."""
        if self._bag is None or self._process != os.getpid():
            self._bag, self._process = Bag(self._folder), os.getpid()
        return self._bag

    def _read(self, bag: Bag, topic: str, entry: _Entry) -> BagMessage:
        start_ns, stop_ns = entry.time_ns, entry.time_ns + 1
        for message in bag.read_messages((topic,), start_ns=start_ns, stop_ns=stop_ns):
            if _stamp_ns(message) == entry.stamp_ns:
                return message
        raise ValueError(f'{self._folder}: the message of {topic} at {entry.time_ns} is gone')

    def _pair(self, bag: Bag, tolerance_ns: int) -> list[tuple[_Entry, _Entry]]:
        """Image and labels that belong together, in the order of the images."""
        entries: dict[str, list[_Entry]] = {self._image_topic: [], self._label_topic: []}
        for message in bag.read_messages(entries):
            entries[message.topic].append(_Entry(_stamp_ns(message), message.time_ns))
        images, labels = entries.values()
        pairing = pair_stamps(
            [entry.stamp_ns for entry in images],
            [entry.stamp_ns for entry in labels],
            tolerance_ns,
        )
        self.remarks = tuple(
            f'{count} x {what}'
            for what, count in (
                ('image without a label', len(pairing.lone_images)),
                ('label without an image', len(pairing.lone_labels)),
                ('image whose stamp another image has, too', len(pairing.repeated_images)),
                ('label whose stamp another label has, too', len(pairing.repeated_labels)),
                (MISSING_MESSAGE, sum(bag.missing.values())),
            )
            if count
        )
        return [(images[i], labels[j]) for i, j in pairing.label_of_image.items()]


def _stamp_ns(message: BagMessage) -> int | None:
    try:
        return header_stamp_ns(message.data)
    except ValueError:
        return None
