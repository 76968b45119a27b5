"""Where frames come from: the images of a dataset, or of bags with their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from seg_ros.bag_writer import BagWriter
from seg_ros.bags import IMAGE_TYPES, MISSING_MESSAGE, Bag, BagMessage, header_stamp_ns
from seg_ros.datasets.sample import Dataset
from seg_ros.evaluation.skips import Skips
from seg_ros.image import CameraImage
from seg_ros.model_card import VOID_ID, ClassInfo
from seg_ros.pairing import Pairing, pair_stamps

_MAX_WAITING_BYTES = 1 << 26  # of labels; 200 of VGA


@dataclass(frozen=True)
class Frame:
    """One image to be segmented.

    Attributes:
        name: Unique within the run.
        image: The pixels.
        truth: (H, W) uint8 ids as they were stored, or None.
        time_s: Seconds since the first frame; the number of the frame where there is no time.
        message: What the image came in, for bags.
    """

    name: str
    image: CameraImage
    truth: np.ndarray | None
    time_s: float
    message: BagMessage | None = None


class FrameSource(Protocol):
    """A sized run of frames.

    Attributes:
        description: For the report: what the frames are; no paths, so that reports compare equal.
        has_truth: Whether any frame comes with labels.
    """

    description: dict[str, Any]
    has_truth: bool

    def __len__(self) -> int:
        """Number of images, for the progress bar."""
        ...

    def read(self, skips: Skips) -> Iterator[Frame]:
        """Read frame by frame; what is broken goes to ``skips``."""
        ...


class DatasetFrames:
    """The frames of a dataset, its classes matched to the model's by name.

    Args:
        dataset: As ``datasets.build_dataset`` makes it.
        classes: Of the model.
        name: Of the dataset, for the report.
        split: Of the dataset, for the report.

    Raises:
        ValueError: If dataset and model do not have the same classes.
    """

    has_truth = True

    def __init__(
        self, dataset: Dataset, classes: Sequence[ClassInfo], *, name: str, split: str
    ) -> None:
        theirs = {entry.name: entry.id for entry in dataset.classes}
        ours = {entry.name: entry.id for entry in classes}
        if theirs.keys() != ours.keys():
            raise ValueError(
                f'dataset {name!r} has the classes {", ".join(theirs)}; the model has '
                f'{", ".join(ours)}: scores need the same ones'
            )
        self._dataset = dataset
        self._id_of = np.full(256, VOID_ID, np.uint8)
        for class_name, class_id in theirs.items():
            self._id_of[class_id] = ours[class_name]
        self.description = {'kind': 'dataset', 'dataset': name, 'split': split}

    def __len__(self) -> int:
        return len(self._dataset)

    def read(self, skips: Skips) -> Iterator[Frame]:
        """Read sample by sample; broken files are skipped."""
        for index, name in enumerate(self._dataset.names):
            try:
                sample = self._dataset[index]
            except (ValueError, FileNotFoundError) as error:
                skips.add('sample that cannot be read', f'{name}: {error}')
                continue
            truth = self._id_of[sample.labels]
            yield Frame(name, CameraImage(sample.image, 'rgb'), truth, float(index))


class BagFrames:
    """The images of one or several bags, paired with labels by header stamp.

    Args:
        paths: The bags, as ``Bag`` takes them.
        image_topic: Topic of the images; the only one of the first bag when None.
        label_topic: Topic of the truth, or None.
        slop_ms: How far the stamps of image and label may lie apart.
        copy_to: A bag that every message that is read is copied to; one source bag only.

    Raises:
        FileNotFoundError: If there is no such bag.
        ValueError: If a bag is damaged or empty, or a topic missing or of another type.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        image_topic: str | None = None,
        label_topic: str | None = None,
        *,
        slop_ms: float = 0.0,
        copy_to: BagWriter | None = None,
    ) -> None:
        if not slop_ms >= 0:
            raise ValueError(f'slop is {slop_ms} ms; give 0 or more')
        self._paths = tuple(paths)
        self._slop_ns = round(slop_ms * 1e6)
        self._copy_to = copy_to
        self._label_topic = label_topic
        self._count = 0
        self._image_topic = image_topic or ''
        for path in self._paths:
            with Bag(path) as bag:
                self._image_topic = self._image_topic or bag.only_image_topic(label_topic)
                found = bag.topic(self._image_topic, IMAGE_TYPES)
                if not found.count:
                    raise ValueError(f'{path}: {found.name} holds no message')
                self._count += found.count
                if label_topic is not None:
                    bag.topic(label_topic, IMAGE_TYPES)
        self.has_truth = label_topic is not None
        self.description: dict[str, Any] = {
            'kind': 'bag',
            'bags': [path.resolve().name for path in self._paths],
            'image_topic': self._image_topic,
            'label_topic': label_topic,
            'slop_ms': slop_ms,
        }

    def __len__(self) -> int:
        return self._count

    def read(self, skips: Skips) -> Iterator[Frame]:
        """Read image by image; what is broken or unpaired is listed in ``skips``."""
        for path in self._paths:
            prefix = f'{path.resolve().name}:' if len(self._paths) > 1 else ''
            labels = self._labels(path, prefix, skips) if self._label_topic else None
            with Bag(path) as bag:
                yield from self._read_bag(bag, labels, prefix, skips)

    def _read_bag(
        self, bag: Bag, labels: _LabelStream | None, prefix: str, skips: Skips
    ) -> Iterator[Frame]:
        wanted = [*bag.topics] if self._copy_to else [self._image_topic]
        position, first_ns = -1, None
        names: Counter[str] = Counter()
        for message in bag.read_messages(wanted):
            if self._copy_to:
                self._copy_to.write(message)
            if message.topic != self._image_topic:
                continue
            position += 1
            try:
                stamp_ns = header_stamp_ns(message.data)
                image = bag.decode_image(message)
            except ValueError as error:
                where = f'{prefix}image {position} at {message.time_ns} ns'
                skips.add('image that cannot be read', f'{where}: {error}')
                continue
            name = f'{prefix}{stamp_ns}'
            names[name] += 1
            if names[name] > 1:  # as of a driver that stamps nothing
                name = f'{name}_{names[name]}'
            first_ns = message.time_ns if first_ns is None else first_ns
            truth = labels.label_of(position, name) if labels else None
            yield Frame(name, image, truth, (message.time_ns - first_ns) / 1e9, message)
        if labels:
            labels.close()
        for topic, lost in bag.missing.items():
            skips.add(MISSING_MESSAGE, f'{prefix}{topic}: {lost}', lost)

    def _labels(self, path: Path, prefix: str, skips: Skips) -> _LabelStream:
        """Pair by stamps, which a first pass over the bag collects, and report what is left."""
        topics = (self._image_topic, self._label_topic or '')
        stamps: dict[str, list[int | None]] = {topic: [] for topic in topics}
        with Bag(path) as bag:
            for message in bag.read_messages(topics):
                stamps[message.topic].append(_stamp_ns(message))
            lost = bag.missing.get(topics[1], 0)
            if lost and not self._copy_to:  # which reads all topics and notes it itself
                skips.add(MISSING_MESSAGE, f'{prefix}{topics[1]}: {lost}', lost)
        images_ns, labels_ns = (stamps[topic] for topic in topics)
        pairing = pair_stamps(images_ns, labels_ns, self._slop_ns)
        broken = [position for position, stamp in enumerate(labels_ns) if stamp is None]
        for reason, positions, listed in (
            ('label that cannot be read', broken, range(len(labels_ns))),
            ('image without a label', pairing.lone_images, images_ns),
            ('label without an image', pairing.lone_labels, labels_ns),
            ('image whose stamp another image has, too', pairing.repeated_images, images_ns),
            ('label whose stamp another label has, too', pairing.repeated_labels, labels_ns),
        ):
            for position in positions:
                skips.add(reason, f'{prefix}{listed[position]}')
        return _LabelStream(path, topics[1], labels_ns, pairing, skips)


class _LabelStream:
    """Labels in the order of their images, read from the bag beside them.

    Both topics are mostly in the same order, so at most a few labels wait for their image. Where
    more do than memory should hold, they are read once more when their image comes.

    Args:
        path: The bag.
        topic: Of the labels.
        stamps_ns: Header stamps of all of them.
        pairing: Which image has which label.
        skips: Where broken labels are listed.
    """

    def __init__(
        self,
        path: Path,
        topic: str,
        stamps_ns: Sequence[int | None],
        pairing: Pairing,
        skips: Skips,
    ) -> None:
        self._bag, self._again = Bag(path), Bag(path)  # a storage has one read position
        self._topic = topic
        self._messages = enumerate(self._bag.read_messages([topic]))
        self._label_of_image = pairing.label_of_image
        self._needed = set(pairing.label_of_image.values())
        self._stamps_ns = stamps_ns
        self._waiting: dict[int, BagMessage] = {}
        self._waiting_bytes = 0
        self._times_ns: dict[int, int] = {}  # of those that are read once more
        self._skips = skips

    def label_of(self, image: int, name: str) -> np.ndarray | None:
        """Decode the label of an image; None where it has none or a broken one."""
        wanted = self._label_of_image.get(image)
        if wanted is None:
            return None
        while wanted not in self._waiting and wanted not in self._times_ns:
            position, message = next(self._messages)  # it was there when stamps were collected
            if position in self._needed:
                self._keep(position, message, is_wanted=position == wanted)
        try:
            return self._bag.decode_labels(self._take(wanted))
        except ValueError as error:
            self._skips.add('label that cannot be read', f'{name}: {error}')
            return None

    def _keep(self, position: int, message: BagMessage, *, is_wanted: bool) -> None:
        size = len(message.data)
        if is_wanted or self._waiting_bytes + size <= _MAX_WAITING_BYTES:
            self._waiting[position] = message
            self._waiting_bytes += size
        else:
            self._times_ns[position] = message.time_ns

    def _take(self, position: int) -> BagMessage:
        if position in self._waiting:
            message = self._waiting.pop(position)
            self._waiting_bytes -= len(message.data)
            return message
        time_ns = self._times_ns.pop(position)
        for message in self._again.read_messages(
            [self._topic], start_ns=time_ns, stop_ns=time_ns + 1
        ):
            if _stamp_ns(message) == self._stamps_ns[position]:  # which no other label has
                return message
        raise ValueError(f'the label recorded at {time_ns} ns is gone')

    def close(self) -> None:
        self._bag.close()
        self._again.close()


def _stamp_ns(message: BagMessage) -> int | None:
    """The header's stamp; None where the message is too short to have one."""
    try:
        return header_stamp_ns(message.data)
    except ValueError:
        return None
