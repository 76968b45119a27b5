"""Recordings as they lie on disks: of ROS 1, without metadata, with journals, under odd names."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import struct
import subprocess
import sys

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2 import storage_mcap as rosbags_mcap
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from seg_ros.bag_storage import is_bag
from seg_ros.bag_writer import BagWriter
from seg_ros.bags import Bag, header_frame_id, header_stamp_ns
from seg_ros.cli import main
from test.conftest import stripes
from test.evaluation.conftest import LABEL_TOPIC, build_bag
from test.evaluation.test_offline import comparable, evaluated, on_bag
from test.robustness.bag_files import write_journal
from test.test_bags import COMPRESSED, IMAGE, TYPES, raw_image

HOT_JOURNAL = bytes.fromhex('d9d505f920a163d7')  # its magic
FORMATS = Ros1Writer.CompressionFormat
START_NS, PERIOD_NS = 1_700_000_000 * 10**9, 10**8


def write(path, storage=StoragePlugin.MCAP, frames=3):
    """Frames of stripes with their stamps; the labels 1 ns after their images."""
    image, labels = stripes()
    with Writer(path, version=9, storage_plugin=storage) as writer:
        images = writer.add_connection('/image', IMAGE, typestore=TYPES)
        truths = writer.add_connection('/labels', IMAGE, typestore=TYPES)
        for index in range(frames):
            stamp = START_NS + index * PERIOD_NS
            writer.write(images, stamp, raw_image(stamp, image, 'rgb8'))
            writer.write(truths, stamp + 1, raw_image(stamp, labels, 'mono8'))
    return path


def read_stripes(path):
    """Number of frames, each compared with what was written."""
    image, labels = stripes()
    with Bag(path) as bag:
        assert bag.only_image_topic('/labels') == '/image'
        messages = list(bag.read_messages(bag.topics))
        for message in messages:
            stamp = header_stamp_ns(message.data)
            assert stamp == message.time_ns - (message.topic == '/labels')
            assert header_frame_id(message.data) == 'camera'
            if message.topic == '/image':
                np.testing.assert_array_equal(bag.decode_image(message).pixels, image)
            else:
                np.testing.assert_array_equal(bag.decode_labels(message), labels)
        assert not bag.missing
    return len(messages) // 2


def as_ros1(source, path, compression=None):
    """The same recording as ROS 1 has it, with sequence numbers in the headers."""
    types = get_typestore(Stores.ROS1_NOETIC)
    writer = Ros1Writer(path)
    if compression is not None:
        writer.set_compression(compression)
    with Bag(source) as bag, writer:
        topics = {
            topic.name: writer.add_connection(topic.name, topic.type, typestore=types)
            for topic in bag.topics.values()
        }
        for message in bag.read_messages(bag.topics):
            data = TYPES.cdr_to_ros1(message.data, message.type)
            writer.write(topics[message.topic], message.time_ns, data)
    return path


@pytest.mark.parametrize('compression', [None, *FORMATS])
def test_bags_of_ros1_give_what_was_recorded(tmp_path, compression):
    bag = as_ros1(write(tmp_path / 'drive'), tmp_path / 'drive.bag', compression)
    assert is_bag(bag)
    assert read_stripes(bag) == 3


def test_a_bag_of_ros1_scores_as_the_same_recording_of_ros2(tmp_path, primary_model):
    ros2 = build_bag(4).save(tmp_path / 'drive')
    ros1 = as_ros1(ros2, tmp_path / 'drive.bag')
    first = evaluated(tmp_path, primary_model, *on_bag(ros2))
    second = evaluated(tmp_path, primary_model, *on_bag(ros1))
    for report in (first, second):
        report['source'].pop('bags')
    assert comparable(first) == comparable(second)


def test_a_bag_of_ros1_is_written_as_ros2_with_the_predictions(tmp_path, primary_model):
    ros1 = as_ros1(build_bag(3).save(tmp_path / 'drive'), tmp_path / 'drive.bag')
    target = tmp_path / 'written'
    evaluated(tmp_path, primary_model, *on_bag(ros1), '--write-bag', target)
    with Bag(ros1) as source, Bag(target) as bag:
        assert bag.topics.keys() > source.topics.keys()
        assert [m.data for m in bag.read_messages([LABEL_TOPIC])] == [
            m.data for m in source.read_messages([LABEL_TOPIC])
        ]
        # What another program reads it with: ROS 2's header has no seq.
        assert [name for name, _ in bag.typestore.fielddefs['std_msgs/msg/Header'][1]] == [
            'stamp',
            'frame_id',
        ]


def test_damaged_messages_of_ros1_are_skipped_one_by_one(tmp_path, primary_model):
    source = build_bag(3)
    types = get_typestore(Stores.ROS1_NOETIC)
    with Ros1Writer(tmp_path / 'drive.bag') as writer:
        topic = writer.add_connection('/image', COMPRESSED, typestore=types)
        for index, (time_ns, data) in enumerate(source.images):
            ros1 = bytes(TYPES.cdr_to_ros1(data, COMPRESSED))
            writer.write(topic, time_ns, ros1[:40] if index == 1 else ros1)
    report = evaluated(tmp_path, primary_model, '--bag', tmp_path / 'drive.bag')
    assert (report['frames'], report['skipped']['count']) == (2, 1)


@pytest.mark.parametrize('storage', list(StoragePlugin))
def test_a_bag_that_lost_its_metadata_is_read_from_its_files(tmp_path, storage):
    bag = write(tmp_path / 'drive', storage)
    (bag / 'metadata.yaml').unlink()
    (file,) = bag.iterdir()
    assert is_bag(bag)
    assert is_bag(file)
    assert read_stripes(bag) == read_stripes(file) == 3
    second = write(tmp_path / 'later', storage)
    (second_file,) = second.glob(f'*{file.suffix}')
    shutil.copyfile(second_file, bag / f'second{file.suffix}')  # a split recording
    assert read_stripes(bag) == 6


def test_metadata_that_does_not_name_the_storage_is_understood(tmp_path):
    for storage, name in zip(StoragePlugin, ('sqlite3', 'mcap'), strict=True):
        bag = write(tmp_path / name, storage)
        metadata = bag / 'metadata.yaml'
        text = metadata.read_text()
        assert f'storage_identifier: {name}' in text
        metadata.write_text(text.replace(f'storage_identifier: {name}', 'storage_identifier: ""'))
        assert read_stripes(bag) == 3


def test_a_recording_that_was_not_closed_is_refused_with_the_cure(tmp_path):
    bag = write(tmp_path / 'drive')
    (file,) = bag.glob('*.mcap')
    file.write_bytes(file.read_bytes()[:-40])
    (bag / 'metadata.yaml').unlink()
    with pytest.raises(ValueError, match=r'was not closed.*mcap recover'):
        Bag(bag)
    (tmp_path / 'photos').mkdir()
    assert not is_bag(tmp_path / 'photos')
    with pytest.raises(ValueError, match=r'metadata\.yaml is missing.*ros2 bag reindex'):
        Bag(tmp_path / 'photos')


@pytest.mark.parametrize('name', ['drive #2', 'drive%41', 'a?b&c', 'm\xe4rz', b'\xe9t\xe9'])
@pytest.mark.parametrize('storage', list(StoragePlugin))
def test_folders_may_have_any_name(tmp_path, storage, name):
    assert (
        read_stripes(write(tmp_path / 'plain', storage).rename(tmp_path / os.fsdecode(name))) == 3
    )


def test_relative_paths_are_read(tmp_path, monkeypatch):
    write(tmp_path / 'drive', StoragePlugin.SQLITE3)
    monkeypatch.chdir(tmp_path / 'drive')
    assert read_stripes('.') == read_stripes('drive.db3') == 3


def test_what_lies_in_the_journal_of_a_database_is_read_and_left_as_it_was(tmp_path):
    bag = write_journal(tmp_path / 'drive')
    before = {path.name: path.read_bytes() for path in bag.iterdir()}
    assert 'drive.db3-wal' in before
    with Bag(bag) as opened:
        assert len(list(opened.read_messages(['/image']))) == 3
        assert not opened.missing
    assert {path.name: path.read_bytes() for path in bag.iterdir()} == before


def test_a_rollback_journal_is_left_alone(tmp_path):
    """It may name files elsewhere, which SQLite removes when it rolls back."""
    bag = write(tmp_path / 'drive', StoragePlugin.SQLITE3)
    other = tmp_path / 'other'
    other.write_text('keep me')
    name = os.fsencode(other)
    tail = name + struct.pack('>II', len(name), sum(name)) + HOT_JOURNAL
    head = HOT_JOURNAL + struct.pack('>IIIII', 0, 0, 1, 512, 4096)
    journal = bag / 'drive.db3-journal'
    journal.write_bytes(head.ljust(512, b'\0') + struct.pack('>I', 1 << 18) + tail)
    before = journal.read_bytes()
    assert read_stripes(bag) == 3
    assert journal.read_bytes() == before
    assert other.read_text() == 'keep me'


@pytest.fixture
def shortened(tmp_path):
    """A bag of eight frames that lost the journal with the last five images and two labels."""
    bag = build_bag(8).save(tmp_path / 'drive', StoragePlugin.SQLITE3)
    with contextlib.closing(sqlite3.connect(bag / 'drive.db3')) as database:
        for topic, first in ((1, 4), (2, 7)):
            database.execute(
                'DELETE FROM messages WHERE topic_id = ? AND id IN (SELECT id FROM messages WHERE '
                'topic_id = ? ORDER BY timestamp LIMIT -1 OFFSET ?)',
                (topic, topic, first - 1),
            )
        database.commit()
    return bag


def test_messages_that_the_bag_promises_and_does_not_hold_are_told(
    tmp_path, shortened, primary_model, capfd
):
    report = evaluated(tmp_path, primary_model, *on_bag(shortened))
    assert report['frames'] == 3
    (missing,) = (
        e for e in report['skipped']['reasons'] if e['reason'].startswith('message that')
    )
    assert missing['count'] == 7
    assert sorted(missing['items']) == ['/camera/image_raw/compressed: 5', f'{LABEL_TOPIC}: 2']
    assert '7 x message that the bag promises' in capfd.readouterr().out
    options = ['--model', primary_model, '--backend', 'onnxruntime', '--quiet']
    images = ['--image-topic', '/camera/image_raw/compressed', '--out', tmp_path / 'out']
    assert main([*map(str, ['predict', shortened, *images, *options])]) == 0
    assert 'skipped: 5 x message that the bag promises' in capfd.readouterr().out


def test_written_bags_tell_of_missing_messages_once(tmp_path, shortened, primary_model):
    target = tmp_path / 'written'
    report = evaluated(tmp_path, primary_model, *on_bag(shortened), '--write-bag', target)
    (missing,) = (
        e for e in report['skipped']['reasons'] if e['reason'].startswith('message that')
    )
    assert missing['count'] == 7


def test_types_that_nobody_knows_are_copied_with_the_bag(tmp_path, primary_model):
    bag = build_bag(2).save(tmp_path / 'drive', StoragePlugin.SQLITE3)
    types = get_typestore(Stores.ROS2_JAZZY)
    types.register(get_types_from_msg('uint8 foot', 'strange_msgs/msg/Gait'))
    other = tmp_path / 'other'
    with (
        Writer(other, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer,
        Bag(bag) as source,
    ):
        topics = {
            topic.name: writer.add_connection(topic.name, topic.type, typestore=TYPES)
            for topic in source.topics.values()
        }
        gait = writer.add_connection('/gait', 'strange_msgs/msg/Gait', typestore=types)
        for message in source.read_messages(source.topics):
            writer.write(topics[message.topic], message.time_ns, message.data)
            writer.write(gait, message.time_ns, b'\0\1\0\0\7')
    with contextlib.closing(sqlite3.connect(other / 'other.db3')) as database:
        database.execute('DELETE FROM message_definitions')  # as of Humble
        database.commit()
    target = tmp_path / 'written'
    report = evaluated(tmp_path, primary_model, *on_bag(other), '--write-bag', target)
    assert report['scored'] == 2
    with Bag(target) as written:
        assert written.topics['/gait'].type == 'strange_msgs/msg/Gait'
        assert [m.data for m in written.read_messages(['/gait'])] == [b'\0\1\0\0\7'] * 4
        assert len(list(written.read_messages(['/segmentation/label_mask']))) == 2


def test_a_bag_that_fails_before_its_first_message_leaves_no_folder(tmp_path):
    with pytest.raises(RuntimeError, match='on purpose'), BagWriter(tmp_path / 'written'):
        raise RuntimeError('on purpose')
    assert not list(tmp_path.iterdir())


def test_readers_of_others_in_the_process_keep_their_own_rules():
    """Limits are this package's: rosbags itself is left as it was installed."""
    code = (
        'from rosbags.rosbag2 import reader, storage_mcap\n'
        'before = dict(storage_mcap.DECOMPRESSORS), reader.zstd\n'
        'import seg_ros.bags\n'
        'assert (storage_mcap.DECOMPRESSORS, reader.zstd) == before\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True)
    assert rosbags_mcap.DECOMPRESSORS.keys() == {'', 'lz4', 'zstd'}
