"""Recordings, read through the rosbags library; no ROS needed."""

from __future__ import annotations

import contextlib
import logging
import math
import sqlite3
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
from rosbags.highlevel import AnyReaderError
from rosbags.rosbag2 import ReaderError
from rosbags.serde import SerdeError
from rosbags.typesys import TypesysError

from seg_ros.bag_compression import ZstdError
from seg_ros.bag_storage import TYPES, StorageReader
from seg_ros.image import (
    CameraImage,
    decode_compressed_image,
    decode_compressed_labels,
    decode_image,
    decode_labels,
)
from seg_ros.image_files import max_file_pixels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    import numpy as np

IMAGE_TYPE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE_TYPE = 'sensor_msgs/msg/CompressedImage'
_HEADER_BYTES = 12  # encapsulation and stamp
IMAGE_TYPES = (IMAGE_TYPE, COMPRESSED_IMAGE_TYPE)
MISSING_MESSAGE = 'message that the bag promises and does not hold'
_log = logging.getLogger(__name__)
# What rosbags and the layers below it raise for storage that is no bag or ends too early.
_DAMAGE = (
    AnyReaderError,
    ReaderError,
    TypesysError,
    apsw.Error,
    sqlite3.Error,
    struct.error,
    SerdeError,
    ZstdError,
    AssertionError,
    EOFError,
    MemoryError,  # a length that was damaged, as the next one
    OverflowError,
    RecursionError,  # metadata nested deeper than YAML is parsed
    OSError,
    LookupError,
    ValueError,
    TypeError,  # metadata whose fields are of other types, as the next one
    AttributeError,
)


@dataclass(frozen=True)
class BagTopic:
    """A topic of a bag: its type as ``package/msg/Name`` and the number of its messages."""

    name: str
    type: str
    count: int


@dataclass(frozen=True)
class BagMessage:
    """A recorded message, still serialised.

    Attributes:
        topic: Where it was recorded.
        type: As in ``BagTopic``.
        time_ns: When it was recorded.
        data: Serialised message (CDR with its 4-byte header).
    """

    topic: str
    type: str
    time_ns: int
    data: bytes


class Bag:
    """An opened recording; use it in a ``with``.

    Args:
        path: A rosbag2 folder (sqlite3 or mcap, compressed or not), one of its files, or a bag of
            ROS 1.

    Attributes:
        missing: Topics that were read to the end -> how many messages fewer came than the bag's
            index promises; those that lack none are left out.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it is no readable bag.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.missing: dict[str, int] = {}
        try:
            self._reader = StorageReader(self.path)
            self._reader.open()
            self._check_types()
        except FileNotFoundError:
            raise
        except _DAMAGE as error:
            raise ValueError(f'{self.path} is no readable bag: {_reason(error)}') from error

    @property
    def topics(self) -> dict[str, BagTopic]:
        """The topics by name."""
        return {
            name: BagTopic(name, info.msgtype or '', info.msgcount)
            for name, info in self._reader.topics.items()
        }

    @property
    def start_ns(self) -> int:
        """When the first message was recorded; of any topic."""
        return int(self._reader.start_time)

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last message."""
        return max(0.0, self._reader.duration / 1e9)

    @property
    def connections(self) -> list[Any]:
        """What rosbags knows of each topic: type and its definition."""
        return list(self._reader.connections)

    def offered_qos(self, connection: Any) -> list[Any]:
        """The QoS of one of the ``connections``."""
        return self._reader.offered_qos(connection)

    @property
    def typestore(self) -> Any:
        """The message types that the bag was recorded with, as ROS 2 has them."""
        return self._reader.typestore

    def _check_types(self) -> None:
        """Look at everything that metadata.yaml says once, while errors are still expected."""
        if not math.isfinite(self.start_ns + self.duration_s):
            raise ValueError('its times are not finite')
        for topic in self.topics.values():
            if not isinstance(topic.name, str) or not isinstance(topic.type, str):
                raise ValueError(f'topic {topic.name!r} of type {topic.type!r}')
            if type(topic.count) is not int or not 0 <= topic.count < 1 << 63:
                raise ValueError(f'topic {topic.name} with {topic.count!r} messages')

    def topic(self, name: str, types: Iterable[str] = ()) -> BagTopic:
        """Find a topic.

        Raises:
            ValueError: If it is not there or of another type; lists those that are.
        """
        topics, allowed = self.topics, tuple(types)
        if name in topics and (not allowed or topics[name].type in allowed):
            return topics[name]
        what = f'is of type {topics[name].type}' if name in topics else 'is not in it'
        listed = ', '.join(f'{topic.name} ({topic.type})' for topic in topics.values())
        asked = f'; expected {" or ".join(allowed)}' if allowed else ''
        raise ValueError(f'{self.path}: topic {name!r} {what}{asked}. Its topics: {listed}')

    def read_messages(
        self, names: Iterable[str], *, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[BagMessage]:
        """Iterate the messages of some topics in the order of their recording.

        A topic that holds fewer messages than the bag's index promises, as one whose journal was
        lost, is logged at the end and noted in ``missing``.

        Args:
            names: The topics.
            start_ns: Only messages recorded at or after this time.
            stop_ns: Only messages recorded before this time.

        Raises:
            ValueError: If the storage is damaged; what came before is valid.
        """
        wanted = set(names)
        connections = [entry for entry in self._reader.connections if entry.topic in wanted]
        if not connections:
            return
        read: Counter[str] = Counter()
        try:
            for connection, time_ns, data in self._reader.messages(
                connections, start=start_ns, stop=stop_ns
            ):
                read[connection.topic] += 1
                yield BagMessage(connection.topic, connection.msgtype, time_ns, data)
        except _DAMAGE as error:
            raise ValueError(f'{self.path} is damaged: {_reason(error)}') from error
        if start_ns is None and stop_ns is None:
            self._note_missing(wanted, read)

    def _note_missing(self, names: Iterable[str], read: Counter[str]) -> None:
        for topic in self.topics.values():
            lost = topic.count - read[topic.name]
            if topic.name in names and lost > 0 and topic.name not in self.missing:
                self.missing[topic.name] = lost
                _log.warning('%s: %d x %s, on %s', self.path, lost, MISSING_MESSAGE, topic.name)

    def only_image_topic(self, label_topic: str | None = None) -> str:
        """Find the image topic where there is no choice.

        Args:
            label_topic: Topic of true labels, which are an image, too.

        Raises:
            ValueError: If there is none or more than one; lists the topics.
        """
        names = [
            topic.name
            for topic in self.topics.values()
            if topic.type in IMAGE_TYPES and topic.name != label_topic
        ]
        if len(names) != 1:
            listed = ', '.join(f'{topic.name} ({topic.type})' for topic in self.topics.values())
            raise ValueError(
                f'{self.path}: choose the image topic; its topics: {listed or "none, it is empty"}'
            )
        return names[0]

    def deserialize(self, message: BagMessage) -> Any:
        """Decode a message into rosbags' dataclass of its type.

        Raises:
            ValueError: If its bytes are no such message.
        """
        try:
            return self._reader.deserialize(message.data, message.type)
        except _DAMAGE as error:
            raise ValueError(
                f'a message on {message.topic} is damaged: {_reason(error)}'
            ) from error

    def decode_image(self, message: BagMessage) -> CameraImage:
        """Decode an Image or CompressedImage message; see ``seg_ros.image``."""
        return _to_image(self.deserialize(message), message.type)

    def decode_labels(self, message: BagMessage) -> np.ndarray:
        """Decode an Image or (PNG) CompressedImage of labels to (H, W) uint8 ids."""
        return _to_labels(self.deserialize(message), message.type)

    def close(self) -> None:
        """Release the files."""
        with contextlib.suppress(AttributeError):  # metadata whose list of files is no list
            self._reader.close()

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def decode_image_data(data: bytes, message_type: str) -> CameraImage:
    """Decode a serialised Image or CompressedImage; see ``seg_ros.image``.

    Raises:
        ValueError: If the message is damaged or no such image.
    """
    return _to_image(_deserialize(data, message_type), message_type)


def decode_label_data(data: bytes, message_type: str) -> np.ndarray:
    """Decode a serialised Image or (PNG) CompressedImage of labels to (H, W) uint8 ids.

    Raises:
        ValueError: If the message is damaged or no such image.
    """
    return _to_labels(_deserialize(data, message_type), message_type)


def _to_image(message: Any, message_type: str) -> CameraImage:
    _check_is_image(message_type)
    if message_type == COMPRESSED_IMAGE_TYPE:
        return decode_compressed_image(message, max_image_pixels=max_file_pixels())
    return decode_image(message, max_image_pixels=max_file_pixels())


def _to_labels(message: Any, message_type: str) -> np.ndarray:
    _check_is_image(message_type)
    if message_type == COMPRESSED_IMAGE_TYPE:
        return decode_compressed_labels(message, max_image_pixels=max_file_pixels())
    return decode_labels(message, max_image_pixels=max_file_pixels())


def _check_is_image(message_type: str) -> None:
    if message_type not in (IMAGE_TYPE, COMPRESSED_IMAGE_TYPE):
        raise ValueError(f'{message_type} is no image; expected {IMAGE_TYPE} or compressed')


def _deserialize(data: bytes, message_type: str) -> object:
    _check_is_image(message_type)
    try:
        return TYPES.deserialize_cdr(data, message_type)
    except SerdeError as error:
        raise ValueError(f'damaged {message_type}: {error}') from error


def header_stamp_ns(data: bytes) -> int:
    """Read the header's stamp off a serialised message whose first field is a std_msgs/Header.

    Args:
        data: CDR: 4 bytes of encapsulation, then int32 seconds and uint32 nanoseconds.

    Returns:
        Nanoseconds since the epoch of the message's clock.

    Raises:
        ValueError: If the message is too short to have one.
    """
    if len(data) < _HEADER_BYTES:
        raise ValueError(f'a message of {len(data)} bytes has no header')
    order = '<' if data[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', data, 4)
    return int(seconds) * 10**9 + int(nanoseconds)


def header_frame_id(data: bytes) -> str:
    """Read the header's frame_id off a serialised message of an image, as ``header_stamp_ns``."""
    order = '<' if data[1] & 1 else '>'
    (length,) = struct.unpack_from(f'{order}I', data, 12)
    return data[16 : 16 + max(0, length - 1)].decode('utf-8', 'replace')  # ends with a zero
