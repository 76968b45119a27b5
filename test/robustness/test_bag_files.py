from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
import time

import pytest
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import McapReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from seg_ros import bag_compression
from seg_ros.bags import IMAGE_TYPE, Bag
from test.robustness.bag_files import (
    HOSTILE_YAML,
    KINDS,
    LZ4,
    fuzz_bag_files,
    write_bag,
    write_bomb,
    write_lz4_bomb,
)
from test.robustness.frames import TYPES, valid_image
from test.robustness.tally import resident_mb, table


def read_all(path):
    with Bag(path) as bag:
        return list(bag.read_messages(bag.topics))


def test_damaged_bags_are_refused_or_read_whole(tmp_path):
    tallies = fuzz_bag_files(tmp_path, 80)
    assert not sum(tally.losses for tally in tallies), table(tallies)
    for tally in tallies:
        assert tally.served
        assert tally.rejected


@pytest.mark.parametrize('text', HOSTILE_YAML, ids=range(len(HOSTILE_YAML)))
def test_hostile_metadata_is_refused(tmp_path, text):
    bag = write_bag(tmp_path / 'bag', *KINDS['mcap'])
    (bag / 'metadata.yaml').write_text(text, encoding='utf-8')
    with pytest.raises(ValueError, match='no readable bag'):
        Bag(bag)


def test_metadata_cannot_name_files_elsewhere(tmp_path):
    write_bag(tmp_path / 'secret', *KINDS['mcap'])
    bag = write_bag(tmp_path / 'bag', *KINDS['mcap'])
    (storage,) = bag.glob('*.mcap')
    storage.unlink()
    metadata = bag / 'metadata.yaml'
    text = metadata.read_text(encoding='utf-8')
    metadata.write_text(text.replace(storage.name, '../secret/secret.mcap'), encoding='utf-8')
    with pytest.raises(ValueError, match='missing'):
        Bag(bag)


MODES = [CompressionMode.MESSAGE, CompressionMode.STORAGE, CompressionMode.FILE]


@pytest.mark.parametrize('mode', MODES, ids=lambda mode: mode.name)
def test_compressed_data_expands_to_the_size_of_an_image_and_no_further(
    tmp_path, monkeypatch, mode
):
    monkeypatch.setattr(bag_compression, 'MAX_EXPANDED_BYTES', 1 << 24)
    bomb = write_bomb(tmp_path / 'bomb', mode, 1 << 28)
    before_mb = resident_mb()
    with pytest.raises(ValueError, match='expand'):
        read_all(bomb)
    assert resident_mb() - before_mb < 100
    honest = write_bomb(tmp_path / 'honest', CompressionMode.MESSAGE, 1 << 23)
    assert [len(message.data) for message in read_all(honest)] == [1 << 23]


def test_files_that_are_listed_often_do_not_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(bag_compression, 'MAX_EXPANDED_BYTES', 1 << 26)
    bag = write_bomb(tmp_path / 'bag', CompressionMode.FILE, 1 << 25)
    metadata = bag / 'metadata.yaml'
    (file,) = bag.glob('*.zstd')
    text = metadata.read_text(encoding='utf-8')
    assert text.count(f'- {file.name}') == 1
    often = '\n'.join([f'  - {file.name}'] * 99).lstrip(' ')
    metadata.write_text(text.replace(f'- {file.name}', often), encoding='utf-8')
    with pytest.raises(ValueError, match='expand to more than a recording'):
        read_all(bag)


def test_lz4_expands_no_further_either(tmp_path, monkeypatch):
    monkeypatch.setattr(bag_compression, 'MAX_EXPANDED_BYTES', 1 << 24)
    bomb = write_lz4_bomb(tmp_path / 'bomb', 1 << 28)
    before_mb = resident_mb()
    with pytest.raises(ValueError, match='expand'):
        read_all(bomb)
    assert resident_mb() - before_mb < 100
    honest = write_lz4_bomb(tmp_path / 'honest', 1 << 23)
    assert [len(message.data) for message in read_all(honest)] == [1 << 23]


def test_what_a_chunk_says_of_its_size_bounds_what_comes_out(tmp_path):
    bomb = write_lz4_bomb(tmp_path / 'bomb', 1 << 26)
    (file,) = bomb.glob('*.mcap')
    reader = McapReader(file)
    reader.open()
    size = struct.pack('<Q', reader.chunks[0].uncompressed_size)
    reader.close()
    data = bytearray(file.read_bytes())
    for place in (data.find(size), data.rfind(size)):  # in the chunk and in the index
        data[place : place + 8] = struct.pack('<Q', 1000)
    file.write_bytes(data)
    with pytest.raises(ValueError, match='expand to more than 1000'):
        read_all(bomb)


def test_chunks_of_the_same_time_are_not_all_held_at_once(tmp_path, monkeypatch):
    """Each is within the limit; to sort their messages, a reader would expand all of them."""
    bag = tmp_path / 'bag'
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection('/image', IMAGE_TYPE, typestore=TYPES)
        for time_ns in (0, 100) * 8:  # each chunk reaches from the first to the last moment
            writer.write(topic, time_ns, bytes(1 << 20))
    assert len(read_all(bag)) == 16
    monkeypatch.setattr(bag_compression, 'MAX_EXPANDED_BYTES', 1 << 22)
    with pytest.raises(ValueError, match='chunks of the same time expand to more'):
        Bag(bag)


def test_one_flipped_bit_in_lz4_is_refused_or_read_whole(tmp_path):
    bag = write_bag(tmp_path / 'bag', *KINDS[LZ4], lz4_chunks=True)
    whole = read_all(bag)
    (file,) = bag.glob('*.mcap')
    data = bytearray(file.read_bytes())
    refused = 0
    for place in range(0, len(data), max(1, len(data) // 150)):
        data[place] ^= 16
        file.write_bytes(data)
        try:
            assert len(read_all(bag)) <= len(whole)
        except ValueError:
            refused += 1
        data[place] ^= 16
    assert refused > 50


DATABASES = {
    'generated column': (
        """CREATE TABLE kept AS SELECT * FROM messages; DROP TABLE messages;
        CREATE TABLE messages(id, topic_id, timestamp, data AS (zeroblob(900000000)));
        INSERT INTO messages SELECT id, topic_id, timestamp FROM kept""",
        'table messages holds computed values',
    ),
    'view': (
        """CREATE TABLE kept AS SELECT * FROM schema; DROP TABLE schema;
        CREATE VIEW schema AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n)
        SELECT 4 AS schema_version, max(i) AS ros_distro FROM n""",
        'table schema holds computed values',
    ),
    'view of another spelling': (
        """CREATE TABLE kept AS SELECT * FROM schema; DROP TABLE schema;
        CREATE VIEW SCHEMA AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n)
        SELECT max(i) AS schema_version FROM n""",
        'table schema holds computed values',
    ),
    'number for bytes': ('UPDATE messages SET data = 9000000000', 'not bytes at int'),
    'text for a time': ("UPDATE messages SET timestamp = 'x'", 'readable|not bytes at int'),
    'topics that multiply': (
        """CREATE TABLE kept AS SELECT * FROM topics; DROP TABLE topics;
        CREATE TABLE topics AS SELECT kept.* FROM kept, messages, messages""",
        'several topics share an id',
    ),
}


@pytest.mark.parametrize('name', DATABASES)
def test_databases_that_compute_their_content_are_refused_at_once(tmp_path, name):
    statements, reason = DATABASES[name]
    bag = write_bag(tmp_path / 'bag', *KINDS['sqlite3'])
    (file,) = bag.glob('*.db3')
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.executescript(statements)
    before_mb, start = resident_mb(), time.monotonic()
    with pytest.raises(ValueError, match=reason):
        read_all(bag)
    assert resident_mb() - before_mb < 100
    assert time.monotonic() - start < 5


def test_pipes_in_the_place_of_files_are_refused(tmp_path):
    bag = write_bag(tmp_path / 'bag', *KINDS['mcap'])
    (file,) = bag.glob('*.mcap')
    file.unlink()
    os.mkfifo(file)
    for path in (bag, file):
        with pytest.raises(ValueError, match='is a pipe or a device'):
            Bag(path)


def test_compressed_messages_may_consist_of_several_frames():
    pieces = [b'one', b'two']
    data = b''.join(map(bag_compression.zstd.compress, pieces))
    assert bag_compression.expand_zstd(data) == b'onetwo'
    with pytest.raises(ValueError, match='too early'):
        bag_compression.expand_zstd(data[:-2])


@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_types_that_nobody_knows_do_not_disturb(tmp_path, storage):
    types = get_typestore(Stores.ROS2_JAZZY)
    types.register(get_types_from_msg('uint8 foot', 'strange_msgs/msg/Gait'))
    with Writer(tmp_path / 'bag', version=9, storage_plugin=storage) as writer:
        for topic, kind, data in (
            ('/gait', 'strange_msgs/msg/Gait', b'\0\1\0\0\7'),
            ('/image', IMAGE_TYPE, valid_image(IMAGE_TYPE)),
        ):
            writer.write(writer.add_connection(topic, kind, typestore=types), 5, data)
    gait, image = read_all(tmp_path / 'bag')
    with Bag(tmp_path / 'bag') as bag:
        assert bag.decode_image(image).pixels.shape == (48, 64, 3)
        with pytest.raises(ValueError, match='strange_msgs/msg/Gait is no image'):
            bag.decode_image(gait)
        with pytest.raises(ValueError, match='strange_msgs/msg/Gait is no image'):
            bag.decode_labels(gait)
