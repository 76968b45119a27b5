"""Bags whose files are damaged: storage, compression and metadata."""

from __future__ import annotations

import contextlib
import copy
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

import apsw
import lz4.frame
import yaml
from hypothesis import strategies as st
from rosbags import rosbag1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from seg_ros.bag_compression import zstd
from seg_ros.bags import IMAGE_TYPE, Bag
from seg_ros.image import decode_image
from test.robustness.frames import TYPES, valid_image
from test.robustness.strategies import damaged
from test.robustness.tally import Tally, draw_cases

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = 3
KINDS: dict[str, tuple[StoragePlugin, CompressionMode]] = {
    'mcap': (StoragePlugin.MCAP, CompressionMode.NONE),
    'mcap, zstd messages': (StoragePlugin.MCAP, CompressionMode.MESSAGE),
    'mcap, zstd chunks': (StoragePlugin.MCAP, CompressionMode.STORAGE),
    'mcap, lz4 chunks': (StoragePlugin.MCAP, CompressionMode.STORAGE),
    'sqlite3': (StoragePlugin.SQLITE3, CompressionMode.NONE),
    'sqlite3, zstd file': (StoragePlugin.SQLITE3, CompressionMode.FILE),
}
LZ4 = 'mcap, lz4 chunks'
ROS1 = {
    'ros 1': None,
    'ros 1, bz2': rosbag1.Writer.CompressionFormat.BZ2,
    'ros 1, lz4': rosbag1.Writer.CompressionFormat.LZ4,
}
# Values that SQLite computes: what a column, a table or a default may be beside plain data.
COMPUTED = (
    'zeroblob({size})',
    'randomblob({size})',
    "replace(printf('%{size}c', 'x'), 'x', 'xx')",
    'hex(zeroblob({size}))',
)
ODD_CELLS = ('NULL', "'text'", '1.5', '{size}', '-1', "x''", 'zeroblob({size})')
HOSTILE_TABLES = (
    'CREATE TABLE {name}({columns}, {column} AS ({value}))',
    'CREATE TABLE {name}({columns}, {column} AS ({value}) STORED)',
    'CREATE VIEW {name} AS SELECT {names}, {value} AS {column} FROM kept',
    """CREATE VIEW {name} AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
    SELECT {names}, kept.{column} FROM kept, n""",
)
ODD_VALUES = (None, 0, -1, 2**70, 1.5, float('nan'), 'x', '../x', [], {}, [1], {'a': 1}, [None])
HOSTILE_YAML = (
    '',
    '\0',
    '[' * 200_000,
    '{a: ' * 50_000,
    ''.join(' ' * depth + 'a:\n' for depth in range(1000)),
    '- ' * 3000 + 'a',
    '? ' * 3000 + 'a',
    '!!python/object/apply:os.system ["false"]',
    'a: &a [x, x]\n' + ''.join(f'{n}: &b{n} [{"*a, " * 9}*a]\n' for n in range(99)),
    '#' * (1 << 23),
)


def fuzz_bag_files(folder: Path, cases: int) -> list[Tally]:
    """Damage every kind of bag; what can still be read must be whole, all else refused."""
    whole = {
        name: write_bag(folder / name, *kind, lz4_chunks=name == LZ4)
        for name, kind in KINDS.items()
    }
    whole |= {name: write_ros1_bag(folder / f'{name}.bag', kind) for name, kind in ROS1.items()}
    whole['sqlite3, journal'] = write_journal(folder / 'journal')
    storage, metadata = Tally('bag storage'), Tally('bag metadata')
    database = Tally('bag database')
    files = {
        name: path if path.is_file() else max(p for p in path.iterdir() if p.suffix != '.yaml')
        for name, path in whole.items()
    }

    def check_storage(case: tuple[str, bytes]) -> str | None:
        name, data = case
        return _read_changed(whole[name], files[name].name, data)

    def check_metadata(text: str) -> str | None:
        return _read_changed(whole['mcap'], 'metadata.yaml', text.encode())

    drawn = st.sampled_from(sorted(whole)).flatmap(
        lambda name: st.tuples(st.just(name), damaged(files[name].read_bytes()))
    )
    flipped = st.sampled_from(sorted(whole)).flatmap(
        lambda name: st.tuples(st.just(name), one_bit_flipped(files[name].read_bytes()))
    )
    draw_cases(storage, st.one_of(drawn, flipped), cases, check_storage)
    draw_cases(
        database, hostile_statements(), cases, lambda sql: _read_database(whole['sqlite3'], sql)
    )
    text = (whole['mcap'] / 'metadata.yaml').read_text(encoding='utf-8')
    texts = st.one_of(
        odd_yaml(text), odd_yaml(text), odd_yaml(text), st.sampled_from(HOSTILE_YAML)
    )
    draw_cases(metadata, texts, cases, check_metadata)
    return [storage, metadata, database]


def write_bag(
    path: Path, storage: StoragePlugin, mode: CompressionMode, *, lz4_chunks: bool = False
) -> Path:
    """Record the stripes three times."""
    writer = Writer(path, version=9, storage_plugin=storage)
    if mode != CompressionMode.NONE:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        if lz4_chunks:  # which rosbags reads and does not write
            writer.storage.compression, writer.storage.compressor = 'lz4', lz4.frame.compress
        connection = writer.add_connection('/image', IMAGE_TYPE, typestore=TYPES)
        for index in range(FRAMES):
            writer.write(connection, index, valid_image(IMAGE_TYPE))
    return path


def write_ros1_bag(path: Path, compression: rosbag1.Writer.CompressionFormat | None) -> Path:
    """Record the stripes three times, as ROS 1 did."""
    types = get_typestore(Stores.ROS1_NOETIC)
    data = TYPES.cdr_to_ros1(valid_image(IMAGE_TYPE), IMAGE_TYPE)
    writer = rosbag1.Writer(path)
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        connection = writer.add_connection('/image', IMAGE_TYPE, typestore=types)
        for index in range(FRAMES):
            writer.write(connection, index, data)
    return path


def write_journal(path: Path) -> Path:
    """A database of which the last two messages lie in the journal beside it (-wal)."""
    write_bag(path, StoragePlugin.SQLITE3, CompressionMode.NONE)
    (file,) = path.glob('*.db3')
    with contextlib.closing(sqlite3.connect(file)) as database:
        rows = database.execute('SELECT * FROM messages WHERE id > 1').fetchall()
        database.execute('DELETE FROM messages WHERE id > 1')
        database.commit()
        database.execute('PRAGMA journal_mode=WAL')
        database.execute('PRAGMA wal_autocheckpoint=0')
        database.executemany('INSERT INTO messages VALUES(?, ?, ?, ?)', rows)
        database.commit()
        # As a recorder that was killed leaves it: closing would move the journal into the file.
        for part in (file, file.with_name(f'{file.name}-wal')):
            shutil.copyfile(part, part.with_name(f'{part.name}.kept'))
    for part in path.glob('*.kept'):
        part.replace(part.with_suffix(''))
    for part in path.glob('*-shm'):
        part.unlink()
    return path


def write_lz4_bomb(path: Path, size: int) -> Path:
    """An mcap whose lz4 chunk holds one message of ``size`` zeros."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.storage.compression, writer.storage.compressor = 'lz4', lz4.frame.compress
        connection = writer.add_connection('/image', IMAGE_TYPE, typestore=TYPES)
        writer.write(connection, 0, bytes(size))
    return path


@st.composite
def one_bit_flipped(draw: Any, data: bytes) -> bytes:
    """The same but for one bit."""
    changed = bytearray(data)
    changed[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(changed)


@st.composite
def hostile_statements(draw: Any) -> str:
    """SQL that turns the tables of a bag into something that computes, or fills odd values in."""
    size = draw(st.sampled_from((10, 1 << 16, 900_000_000, 1 << 40)))
    if draw(st.booleans()):
        cell = draw(st.sampled_from(ODD_CELLS)).format(size=size if size < 1 << 20 else 1 << 20)
        column = draw(st.sampled_from(('topic_id', 'timestamp', 'data')))
        where = draw(st.integers(1, FRAMES))
        return f'UPDATE messages SET {column} = {cell} WHERE id = {where}'  # noqa: S608
    name, columns = draw(
        st.sampled_from(
            (
                ('messages', ('id', 'topic_id', 'timestamp', 'data')),
                (
                    'topics',
                    (
                        'id',
                        'name',
                        'type',
                        'serialization_format',
                        'offered_qos_profiles',
                        'type_description_hash',
                    ),
                ),
                ('schema', ('schema_version', 'ros_distro')),
                (
                    'message_definitions',
                    (
                        'id',
                        'topic_type',
                        'encoding',
                        'encoded_message_definition',
                        'type_description_hash',
                    ),
                ),
            )
        )
    )
    column = draw(st.sampled_from(columns))
    others = [each for each in columns if each != column]
    value = draw(st.sampled_from(COMPUTED)).format(size=size)
    table = draw(st.sampled_from(HOSTILE_TABLES)).format(
        name=name,
        columns=', '.join(others),
        names=', '.join(f'kept.{n}' for n in others),
        column=column,
        value=value,
    )
    names = ', '.join(others)
    kept = f'CREATE TABLE kept AS SELECT * FROM {name}; DROP TABLE {name}; {table};'  # noqa: S608
    if 'TABLE' not in table:
        return kept
    return f'{kept} INSERT INTO {name}({names}) SELECT {names} FROM kept;'  # noqa: S608


def write_bomb(path: Path, mode: CompressionMode, size: int) -> Path:
    """Write a bag whose compressed data expands to ``size`` zeros."""
    storage = StoragePlugin.SQLITE3 if mode == CompressionMode.FILE else StoragePlugin.MCAP
    if mode == CompressionMode.FILE:
        write_bag(path, storage, mode)
        (file,) = path.glob('*.zstd')
        with zstd.open(file, 'wb') as stream:
            for _ in range(0, size, 1 << 20):
                stream.write(bytes(1 << 20))
        return path
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection('/image', IMAGE_TYPE, typestore=TYPES)
        writer.write(connection, 0, bytes(size))
    return path


@st.composite
def odd_yaml(draw: Any, text: str) -> str:
    """A YAML text of which one value is another or missing."""
    root = yaml.safe_load(text)
    places = list(_places(root))
    parent, key = draw(st.sampled_from(places))
    changed = copy.deepcopy(root)
    node = changed
    for step in parent:
        node = node[step]
    value = draw(st.sampled_from((*ODD_VALUES, KeyError)))
    if value is KeyError:
        del node[key]
    else:
        node[key] = value
    return yaml.safe_dump(changed)


def _places(node: Any, path: tuple[Any, ...] = ()) -> Any:
    """Every value of nested mappings and lists: where it stands, and its key there."""
    keys = node.keys() if isinstance(node, dict) else range(len(node))
    for key in keys:
        yield path, key
        if isinstance(node[key], (dict, list)):
            yield from _places(node[key], (*path, key))


def _read_changed(bag_path: Path, name: str, data: bytes) -> str | None:
    """Read a copy of a bag in which one file was exchanged."""
    copied = bag_path.with_name(f'changed{bag_path.suffix}')
    if bag_path.is_dir():
        shutil.copytree(bag_path, copied)
        (copied / name).write_bytes(data)
    else:
        copied.write_bytes(data)
    return _read(copied)


def _read_database(bag_path: Path, statements: str) -> str | None:
    """Read a copy of a bag on whose database statements were run."""
    copied = bag_path.with_name('changed')
    shutil.copytree(bag_path, copied)
    (file,) = copied.glob('*.db3')
    with contextlib.closing(apsw.Connection(str(file))) as database:
        database.limit(apsw.SQLITE_LIMIT_LENGTH, 1 << 24)  # what is stored stays small
        with contextlib.suppress(apsw.Error):  # SQLite itself refuses some of them
            database.execute(statements).fetchall()
    return _read(copied)


def _read(copied: Path) -> str | None:
    """Read every image of a bag, and remove it."""
    try:
        with Bag(copied) as bag:
            for message in bag.read_messages(bag.topics):
                if message.type != IMAGE_TYPE:
                    continue
                fields = bag.deserialize(message)
                if decode_image(fields).pixels.shape[:2] != (fields.height, fields.width):
                    return 'an image of another size'
    except FileNotFoundError as error:
        raise ValueError(str(error)) from error
    finally:
        shutil.rmtree(copied) if copied.is_dir() else copied.unlink()
    return None
