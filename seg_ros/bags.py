"""rosbag2 recordings, read and written through the rosbags library; no ROS needed."""

from __future__ import annotations

import contextlib
import math
import re
import sqlite3
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag2 import ReaderError, StoragePlugin, Writer, WriterError
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_typestore

from seg_ros.bag_compression import ZstdError, limit_rosbags
from seg_ros.image import (
    MAX_IMAGE_PIXELS,
    CameraImage,
    decode_compressed_image,
    decode_compressed_labels,
    decode_image,
    decode_labels,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    import numpy as np

IMAGE_TYPE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE_TYPE = 'sensor_msgs/msg/CompressedImage'
MAX_METADATA_BYTES = 1 << 22  # metadata.yaml; 1000 topics take half a megabyte
_MAX_NESTING = 50  # of its brackets; rosbag2 writes 2, and the time to parse grows with the square
limit_rosbags()
_TYPES = get_typestore(Stores.ROS2_JAZZY)
# What rosbags and the layers below it raise for storage that is no bag or ends too early.
_DAMAGE = (
    AnyReaderError,
    ReaderError,
    TypesysError,
    apsw.Error,
    sqlite3.Error,
    struct.error,
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
    """An opened rosbag2 folder (sqlite3 or mcap, compressed or not); use it in a ``with``.

    Args:
        path: The folder that holds ``metadata.yaml``.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it is no readable bag.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise FileNotFoundError(f'no bag at {self.path}; give the folder with metadata.yaml')
        try:
            _check_metadata(self.path / 'metadata.yaml')
            self._reader = AnyReader([self.path], default_typestore=_TYPES)
            self._reader.open()
            self._check_types()
        except _DAMAGE as error:
            raise ValueError(f'{self.path} is no readable rosbag2: {error}') from error

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
        """What rosbags knows of each topic: type definition and QoS."""
        return list(self._reader.connections)

    @property
    def typestore(self) -> Any:
        """The message types that the bag was recorded with."""
        return self._reader.typestore

    def _check_types(self) -> None:
        """Look at everything that metadata.yaml says once, while errors are still expected."""
        if not math.isfinite(self.start_ns + self.duration_s):
            raise ValueError('its times are not finite')
        for topic in self.topics.values():
            if not isinstance(topic.name, str) or not isinstance(topic.type, str):
                raise ValueError(f'topic {topic.name!r} of type {topic.type!r}')

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
        try:
            for connection, time_ns, data in self._reader.messages(
                connections, start=start_ns, stop=stop_ns
            ):
                yield BagMessage(connection.topic, connection.msgtype, time_ns, bytes(data))
        except _DAMAGE as error:
            raise ValueError(f'{self.path} is damaged: {error}') from error

    def deserialize(self, message: BagMessage) -> Any:
        """Decode a message into rosbags' dataclass of its type.

        Raises:
            ValueError: If its bytes are no such message.
        """
        try:
            return self._reader.deserialize(message.data, message.type)
        except (SerdeError, *_DAMAGE) as error:
            raise ValueError(f'a message on {message.topic} is damaged: {error}') from error

    def decode_image(
        self, message: BagMessage, *, max_image_pixels: int = MAX_IMAGE_PIXELS
    ) -> CameraImage:
        """Decode an Image or CompressedImage message; see ``seg_ros.image``."""
        return _to_image(self.deserialize(message), message.type, max_image_pixels)

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


class BagWriter:
    """Writes a new rosbag2 folder in mcap; use it in a ``with``.

    Args:
        path: A folder that does not exist yet.

    Raises:
        FileExistsError: If ``path`` exists: a recording is never written over.
        ValueError: While writing or closing, if the disk is full or the folder not writable.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if self.path.exists():
            raise FileExistsError(f'{self.path} exists; remove it or choose another folder')
        self._writer = Writer(self.path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._connections: dict[str, Any] = {}

    def declare_topics_of(self, bag: Bag) -> None:
        """Declare the topics of another bag, with its type definitions and QoS, to copy them."""
        for entry in bag.connections:
            if entry.topic in self._connections:
                continue  # several publishers of one topic become one
            self._connections[entry.topic] = self._writer.add_connection(
                entry.topic,
                entry.msgtype,
                typestore=bag.typestore,
                offered_qos_profiles=entry.ext.offered_qos_profiles,
            )

    def write(self, message: BagMessage) -> None:
        """Append a message; its topic is declared with the first one."""
        connection = self._connections.get(message.topic)
        if connection is None:
            try:
                connection = self._writer.add_connection(
                    message.topic, message.type, typestore=_TYPES
                )
            except (WriterError, TypesysError) as error:
                raise ValueError(f'{self.path}: {error}') from error
            self._connections[message.topic] = connection
        with self._translated():
            self._writer.write(connection, message.time_ns, message.data)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ValueError(
                f'{self.path} cannot be written: {error.strerror}; the recording is incomplete'
            ) from error

    def __enter__(self) -> BagWriter:
        with self._translated():
            self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._translated():
            self._writer.close()


def _check_metadata(path: Path) -> None:
    if not path.is_file():
        return
    if (size := path.stat().st_size) > MAX_METADATA_BYTES:
        raise ValueError(f'{path.name} has {size} bytes; allowed are {MAX_METADATA_BYTES}')
    depth = 0
    for bracket in re.findall(r'[\[\]{}]', path.read_text(encoding='utf-8')):
        depth = depth + 1 if bracket in '[{' else max(0, depth - 1)
        if depth > _MAX_NESTING:
            raise ValueError(f'{path.name} is nested more than {_MAX_NESTING} deep')


def decode_image_data(
    data: bytes, message_type: str, *, max_image_pixels: int = MAX_IMAGE_PIXELS
) -> CameraImage:
    """Decode a serialised Image or CompressedImage; see ``seg_ros.image``.

    Raises:
        ValueError: If the message is damaged or no such image.
    """
    return _to_image(_deserialize(data, message_type), message_type, max_image_pixels)


def decode_label_data(data: bytes, message_type: str) -> np.ndarray:
    """Decode a serialised Image or (PNG) CompressedImage of labels to (H, W) uint8 ids.

    Raises:
        ValueError: If the message is damaged or no such image.
    """
    return _to_labels(_deserialize(data, message_type), message_type)


def _to_image(message: Any, message_type: str, max_image_pixels: int) -> CameraImage:
    _check_is_image(message_type)
    if message_type == COMPRESSED_IMAGE_TYPE:
        return decode_compressed_image(message, max_image_pixels=max_image_pixels)
    return decode_image(message, max_image_pixels=max_image_pixels)


def _to_labels(message: Any, message_type: str) -> np.ndarray:
    _check_is_image(message_type)
    if message_type == COMPRESSED_IMAGE_TYPE:
        return decode_compressed_labels(message)
    return decode_labels(message)


def _check_is_image(message_type: str) -> None:
    if message_type not in (IMAGE_TYPE, COMPRESSED_IMAGE_TYPE):
        raise ValueError(f'{message_type} is no image; expected {IMAGE_TYPE} or compressed')


def _deserialize(data: bytes, message_type: str) -> object:
    _check_is_image(message_type)
    try:
        return _TYPES.deserialize_cdr(data, message_type)
    except SerdeError as error:
        raise ValueError(f'damaged {message_type}: {error}') from error


def header_stamp_ns(data: bytes) -> int:
    """Read the header's stamp off a serialised message whose first field is a std_msgs/Header.

    Args:
        data: CDR: 4 bytes of encapsulation, then int32 seconds and uint32 nanoseconds.

    Returns:
        Nanoseconds since the epoch of the message's clock.
    """
    order = '<' if data[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', data, 4)
    return int(seconds) * 10**9 + int(nanoseconds)


def header_frame_id(data: bytes) -> str:
    """Read the header's frame_id off a serialised message, as ``header_stamp_ns`` does."""
    order = '<' if data[1] & 1 else '>'
    (length,) = struct.unpack_from(f'{order}I', data, 12)
    return data[16 : 16 + max(0, length - 1)].decode('utf-8', 'replace')  # ends with a zero
