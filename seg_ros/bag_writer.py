"""New recordings, written through the rosbags library; no ROS needed."""

from __future__ import annotations

import contextlib
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.typesys import TypesysError

from seg_ros.bag_storage import TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from seg_ros.bags import Bag, BagMessage

_log = logging.getLogger(__name__)


class BagWriter:
    """Writes a new rosbag2 folder in mcap; use it in a ``with``.

    Args:
        path: A folder that does not exist yet.
        is_by_product: Whether what it goes along with matters more: errors of writing are then
            logged once and kept in ``failure``, and nothing more is written.

    Attributes:
        failure: Why the recording is incomplete, if it is.

    Raises:
        FileExistsError: If ``path`` exists: a recording is never written over.
        ValueError: While writing or closing, if the disk is full or the folder not writable.
    """

    def __init__(self, path: Path | str, *, is_by_product: bool = False) -> None:
        self.path = Path(path)
        self.failure: ValueError | None = None
        self._is_by_product = is_by_product
        if self.path.exists():
            raise FileExistsError(f'{self.path} exists; remove it or choose another folder')
        self._writer = Writer(self.path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._connections: dict[str, Any] = {}
        self._is_empty = True

    def declare_topics_of(self, bag: Bag) -> None:
        """Declare the topics of another bag, with its type definitions and QoS, to copy them.

        A type that the bag does not define and nobody here knows is copied without a definition.
        """
        for entry in bag.connections:
            if entry.topic in self._connections:
                continue  # several publishers of one topic become one
            known = entry.msgtype in bag.typestore.fielddefs
            connection = self._writer.add_connection(
                entry.topic,
                entry.msgtype,
                typestore=bag.typestore,
                offered_qos_profiles=bag.offered_qos(entry),
                **({} if known else {'msgdef': '', 'rihs01': 'unknown'}),
            )
            if not known:  # the writer insists on a hash, and readers compare it
                connection = connection._replace(digest='')
                self._writer.connections[-1] = connection
            self._connections[entry.topic] = connection

    def write(self, message: BagMessage) -> None:
        """Append a message; its topic is declared with the first one."""
        if self.failure is not None:
            return
        connection = self._connections.get(message.topic)
        if connection is None:
            try:
                connection = self._writer.add_connection(
                    message.topic, message.type, typestore=TYPES
                )
            except (WriterError, TypesysError) as error:
                raise ValueError(f'{self.path}: {error}') from error
            self._connections[message.topic] = connection
        with self._translated():
            self._writer.write(connection, message.time_ns, message.data)
            self._is_empty = False

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = ValueError(
                f'{self.path} cannot be written: {error.strerror}; the recording is incomplete'
            )
            if not self._is_by_product:
                raise self.failure from error
            _log.warning('%s', self.failure)

    def __enter__(self) -> BagWriter:
        try:
            self._writer.open()
        except OSError as error:
            raise ValueError(f'{self.path} cannot be written: {error.strerror}') from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._translated():
            self._writer.close()
        if kind is not None and self._is_empty:
            shutil.rmtree(self.path, ignore_errors=True)  # what failed before the first message
