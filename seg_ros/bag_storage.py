"""rosbags' readers of recordings, kept within limits.

What is not theirs: bounds on what compressed data expands to, a look at the tables of a database
before it is asked anything, the journal that lies beside one, folders that lost their
``metadata.yaml``, and messages of ROS 1 in the encoding of ROS 2.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
from rosbags import rosbag1
from rosbags.convert.converter import LATCH, is_same_wireformat
from rosbags.highlevel import AnyReader
from rosbags.rosbag1.reader import decompressors
from rosbags.rosbag2 import ReaderError
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from seg_ros import bag_compression
from seg_ros.bag_compression import (
    LimitedFile,
    expand_bz2,
    expand_lz4,
    expand_zstd,
    limited_files,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rosbags.rosbag2.reader import DirectoryReader, Reader
    from rosbags.rosbag2.storage_mcap import McapReader

TYPES = get_typestore(Stores.ROS2_JAZZY)
METADATA_FILE = 'metadata.yaml'
MAX_METADATA_BYTES = 1 << 22  # 1000 topics take half a megabyte
_MAX_NESTING = 50  # rosbag2 writes 6, and the time to parse grows with the square
_STORAGE_SUFFIXES = ('.mcap', '.db3')
_ROS1_SUFFIX = '.bag'
_INDENT = re.compile(r'^[ ?:-]+', re.MULTILINE)  # spaces, and what nests within one line
_URI_SPECIAL = re.compile(rb'[^A-Za-z0-9/._-]')
_TABLES = {'messages', 'topics', 'schema', 'metadata', 'message_definitions'}


def _own_copy(name: str) -> Any:
    """A module of rosbags for this package alone: its limits bind nobody else in the process."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _LimitedZstd:
    """What rosbags' reader uses of the zstd module."""

    decompress = staticmethod(expand_zstd)
    open = LimitedFile


if not TYPE_CHECKING:
    _mcap, _reader = map(_own_copy, ('rosbags.rosbag2.storage_mcap', 'rosbags.rosbag2.reader'))
    _mcap.DECOMPRESSORS.update(zstd=expand_zstd, lz4=expand_lz4)
    _reader.zstd = _LimitedZstd
    McapReader = _mcap.McapReader
    DirectoryReader, Reader = _reader.DirectoryReader, _reader.Reader


def is_bag(path: Path) -> bool:
    """Tell a recording from other files: a rosbag2 folder, one of its files, or a ROS 1 bag."""
    if path.is_dir():
        return (path / METADATA_FILE).is_file() or bool(_storages(path))
    return path.suffix in (*_STORAGE_SUFFIXES, _ROS1_SUFFIX) and path.is_file()


class StorageReader(AnyReader):
    """Reads one recording; all messages come in the encoding of ROS 2 (CDR).

    Args:
        path: A rosbag2 folder, with ``metadata.yaml`` or without; one of its mcap or sqlite3
            files; or a bag of ROS 1.

    Attributes:
        is_ros1: Whether it is a bag of ROS 1.

    Raises:
        FileNotFoundError: If there is no recording.
        ValueError: If it is a folder that holds none, or its metadata is too large or too deeply
            nested.
    """

    def __init__(self, path: Path) -> None:
        paths = _sources(path)
        super().__init__(paths, default_typestore=TYPES)
        self.is_ros1 = path.is_file() and path.suffix == _ROS1_SUFFIX
        self.is2 = not self.is_ros1
        self.readers = (
            [_Ros1Reader(path)] if self.is_ros1 else [_Ros2Reader(each) for each in paths]
        )

    def open(self) -> None:
        """Open it; raises what rosbags raises for damage."""
        super().open()
        if self.is_ros1:
            self.typestore = _as_ros2(self.typestore)
            self.is2 = True  # as far as messages are concerned

    def messages(self, *args: Any, **kwargs: Any) -> Iterator[tuple[Any, int, bytes]]:  # type: ignore[override]
        """As rosbags' method; of ROS 1, the messages are converted.

        Raises:
            ValueError: If the storage gives something else than bytes and a time.
        """
        for connection, time_ns, data in super().messages(*args, **kwargs):
            if not isinstance(data, (bytes, memoryview)) or type(time_ns) is not int:
                kinds = f'{type(data).__name__} at {type(time_ns).__name__}'
                raise ValueError(f'a message of {connection.topic} is {kinds}, not bytes at int')
            yield (
                connection,
                time_ns,
                self._as_cdr(data, connection.msgtype) if self.is_ros1 else bytes(data),
            )

    def _as_cdr(self, data: bytes, message_type: str) -> bytes:
        """Convert a message of ROS 1; a damaged one is empty, which is no message of any type."""
        try:
            return bytes(self.typestore.ros1_to_cdr(data, message_type))
        except (SerdeError, struct.error, ValueError, IndexError, TypeError, AssertionError):
            return b''

    @staticmethod
    def offered_qos(connection: Any) -> list[Any]:
        """QoS of a connection; what was latched in ROS 1 is transient local."""
        if hasattr(connection.ext, 'offered_qos_profiles'):
            return list(connection.ext.offered_qos_profiles)
        return LATCH if connection.ext.latching else []


class _McapReader(McapReader):
    """Refuses chunks that would have to be held at the same time beyond the limit."""

    def _open(self) -> None:
        try:
            super()._open()
        except ReaderError as error:
            if 'end magic' in str(error):
                raise ReaderError(
                    f'{self.path} was not closed when it was recorded; '
                    f'"mcap recover" (mcap.dev) makes a whole file of it'
                ) from error
            raise
        held, most = 0, bag_compression.MAX_EXPANDED_BYTES
        edges = [(chunk.message_start_time, chunk.uncompressed_size) for chunk in self.chunks]
        edges += [(chunk.message_end_time + 1, -chunk.uncompressed_size) for chunk in self.chunks]
        for _, size in sorted(edges):
            held += size
            if held > most:
                raise ReaderError(f'chunks of the same time expand to more than {most} bytes')


class _SqliteReader(Sqlite3Reader):
    """Takes any name of a file, looks at tables before it reads them, and heeds a -wal.

    A rollback journal (-journal) is left alone: it may name other files, which SQLite removes.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._stack = contextlib.ExitStack()

    def open(self) -> None:
        """Open the database without changing it or the folder it lies in."""
        file = Path(str(self.path))
        try:
            if _log_of(file) is not None:
                file = self._recovered(file)
            # rosbags makes a URI of it; a name may hold any byte.
            self.path = Path(_URI_SPECIAL.sub(_percent_encoded, os.fsencode(file)).decode('ascii'))
            self._check_tables()
            super().open()
        except BaseException:
            self._stack.close()
            raise
        assert self.dbconn is not None
        self.dbconn.limit(apsw.SQLITE_LIMIT_LENGTH, bag_compression.MAX_EXPANDED_BYTES)

    def close(self) -> None:
        """Close the database and remove the copy."""
        with self._stack:
            super().close()

    def _recovered(self, file: Path) -> Path:
        """A copy of a database that was not closed, with what its write-ahead log holds."""
        folder = self._stack.enter_context(tempfile.TemporaryDirectory())
        for part in (file, _log_of(file)):
            assert part is not None
            shutil.copyfile(part, Path(folder, part.name))
        copy = Path(folder, file.name)
        database = apsw.Connection(str(copy))
        with contextlib.closing(database):
            database.execute('PRAGMA journal_mode=DELETE').fetchall()
        return copy

    def _check_tables(self) -> None:
        """Refuse tables whose values are computed: they grow out of nothing, without bound."""
        database = apsw.Connection(
            f'file:{self.path}?immutable=1', flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
        with contextlib.closing(database):
            listed = "SELECT lower(name), type FROM pragma_table_list WHERE schema = 'main'"
            rows: Any = database.execute(listed).fetchall()
            kinds = dict(rows)
            for name in _TABLES & kinds.keys():
                columns = database.execute('SELECT hidden FROM pragma_table_xinfo(?)', (name,))
                if kinds[name] != 'table' or any(hidden for (hidden,) in columns):
                    raise ReaderError(f'table {name} holds computed values')
            if 'topics' in kinds:
                doubled = 'SELECT count(*) - count(DISTINCT id) FROM topics'
                if database.execute(doubled).fetchall() != [(0,)]:
                    raise ReaderError('several topics share an id')


def _percent_encoded(match: re.Match[bytes]) -> bytes:
    return b'%%%02x' % match[0][0]


def _storage_of(path: Path) -> _McapReader | _SqliteReader:
    """Tell by its name how a file is stored: older tools leave it out when they reindex."""
    return _SqliteReader(path) if path.suffix == '.db3' else _McapReader(path)


class _FolderReader(DirectoryReader):
    STORAGE_PLUGINS = {'mcap': _McapReader, 'sqlite3': _SqliteReader, '': _storage_of}  # type: ignore[dict-item] # noqa: RUF012

    def open(self) -> None:
        """Open it; compressed files are expanded into a temporary folder, within a limit."""
        compressed = sum(path.stat().st_size for path in Path(str(self.path)).glob('*.zstd'))
        with limited_files(compressed):
            super().open()


class _Ros2Reader(Reader):
    STORAGE_PLUGINS = {'dir': _FolderReader, '.mcap': _McapReader, '.db3': _SqliteReader}  # noqa: RUF012


class _Ros1Reader(rosbag1.Reader):
    _LIMITED = {  # noqa: RUF012
        decompressors['none']: decompressors['none'],
        decompressors['bz2']: expand_bz2,
        decompressors['lz4']: expand_lz4,
    }

    def read_chunk(self) -> Any:
        chunk = super().read_chunk()
        return chunk._replace(decompressor=self._LIMITED[chunk.decompressor])


def _as_ros2(ros1_types: Any) -> Any:
    """The types of a ROS 1 bag as ROS 2 has them: a header without ``seq``, known definitions."""
    known = TYPES.fielddefs
    definitions = {
        name: known[name]
        if name in known and is_same_wireformat(ros1_types, TYPES, name, name)
        else fields
        for name, fields in ros1_types.fielddefs.items()
    }
    for name in ('std_msgs/msg/Header', 'builtin_interfaces/msg/Time'):
        definitions[name] = known[name]
    types = get_typestore(Stores.EMPTY)
    types.register(definitions)
    return types


def _log_of(database: Path) -> Path | None:
    """The write-ahead log beside a database that was not closed."""
    log = database.with_name(f'{database.name}-wal')
    return log if log.is_file() and log.stat().st_size else None


def _storages(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in _STORAGE_SUFFIXES)


def _sources(path: Path) -> list[Path]:
    """What rosbags has to open: the folder, or the files of one that lost its metadata."""
    if not path.exists():
        raise FileNotFoundError(f'no bag at {path}; give the folder with {METADATA_FILE}')
    for entry in path.iterdir() if path.is_dir() else (path,):
        if entry.exists() and not (entry.is_file() or entry.is_dir()):
            raise ValueError(f'{entry.name} is a pipe or a device')  # reading it may never end
    if path.is_file():
        return [path]
    if (path / METADATA_FILE).is_file():
        _check_metadata(path / METADATA_FILE)
        return [path]
    found = _storages(path)
    if len({file.suffix for file in found}) != 1:
        raise ValueError(
            f'{METADATA_FILE} is missing; where this was a bag, "ros2 bag reindex" makes it anew'
        )
    return found


def _check_metadata(path: Path) -> None:
    if (size := path.stat().st_size) > MAX_METADATA_BYTES:
        raise ValueError(f'{path.name} has {size} bytes; allowed are {MAX_METADATA_BYTES}')
    text = path.read_text(encoding='utf-8')
    depth = max((len(indent) // 2 for indent in _INDENT.findall(text)), default=0)
    if depth > _MAX_NESTING:
        raise ValueError(f'{path.name} is nested more than {_MAX_NESTING} deep')
    depth = 0
    for bracket in re.findall(r'[\[\]{}]', text):
        depth = depth + 1 if bracket in '[{' else max(0, depth - 1)
        if depth > _MAX_NESTING:
            raise ValueError(f'{path.name} is nested more than {_MAX_NESTING} deep')
