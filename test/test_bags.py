from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from seg_ros.bag_writer import BagWriter
from seg_ros.bags import Bag, BagMessage, decode_image_data, header_stamp_ns
from seg_ros.image_files import LIMIT_VARIABLE
from test.conftest import stripes

TYPES = get_typestore(Stores.ROS2_JAZZY)
IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'


def serialized(kind, stamp_ns, **fields):
    time = TYPES.types['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10**9))
    header = TYPES.types['std_msgs/msg/Header'](stamp=time, frame_id='camera')
    return bytes(TYPES.serialize_cdr(TYPES.types[kind](header=header, **fields), kind))


def raw_image(stamp_ns, pixels, encoding):
    height, width = pixels.shape[:2]
    return serialized(
        IMAGE,
        stamp_ns,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=pixels.strides[0],
        data=pixels.ravel(),
    )


@pytest.fixture(params=['mcap', 'mcap-zstd-message', 'sqlite3', 'sqlite3-zstd-file'])
def bag_path(request, tmp_path):
    """Three frames, raw and as PNG, with their labels, 0.1 s apart."""
    path = tmp_path / 'bag'
    storage = StoragePlugin.MCAP if 'mcap' in request.param else StoragePlugin.SQLITE3
    writer = Writer(path, version=9, storage_plugin=storage)
    if 'zstd' in request.param:
        mode = CompressionMode.MESSAGE if 'message' in request.param else CompressionMode.FILE
        writer.set_compression(mode, CompressionFormat.ZSTD)
    image, labels = stripes()
    png = cv2.imencode('.png', image[..., ::-1])[1].ravel()
    with writer:
        kinds = {'/image': IMAGE, '/labels': IMAGE, '/image/compressed': COMPRESSED}
        topics = {
            name: writer.add_connection(name, t, typestore=TYPES) for name, t in kinds.items()
        }
        for index in range(3):
            stamp = 5_000_000_007 + index * 100_000_000
            writer.write(topics['/image'], stamp, raw_image(stamp, image, 'rgb8'))
            writer.write(topics['/labels'], stamp, raw_image(stamp, labels, 'mono8'))
            packed = serialized(COMPRESSED, stamp, format='png', data=png)
            writer.write(topics['/image/compressed'], stamp, packed)
    return path


def test_images_and_labels_come_out_as_they_went_in(bag_path):
    image, labels = stripes()
    with Bag(bag_path) as bag:
        assert {topic.name: topic.count for topic in bag.topics.values()} == {
            '/image': 3,
            '/labels': 3,
            '/image/compressed': 3,
        }
        assert bag.duration_s == pytest.approx(0.2, abs=1e-6)
        for name in ('/image', '/image/compressed'):
            messages = list(bag.read_messages([name]))
            assert [message.time_ns for message in messages] == [
                5_000_000_007 + index * 100_000_000 for index in range(3)
            ]
            for message in messages:
                decoded = bag.decode_image(message)
                rgb = decoded.pixels if decoded.order == 'rgb' else decoded.pixels[..., ::-1]
                np.testing.assert_array_equal(rgb, image)
                assert header_stamp_ns(message.data) == message.time_ns
        for message in bag.read_messages(['/labels']):
            np.testing.assert_array_equal(bag.decode_labels(message), labels)


def test_the_limit_of_files_holds_for_the_images_of_bags(monkeypatch):
    data = raw_image(0, np.zeros((20, 30, 3), np.uint8), 'bgr8')
    monkeypatch.setenv(LIMIT_VARIABLE, '599')
    with pytest.raises(ValueError, match=f'30x20 has more than .* = 599.*{LIMIT_VARIABLE}'):
        decode_image_data(data, IMAGE)
    monkeypatch.setenv(LIMIT_VARIABLE, '600')
    assert decode_image_data(data, IMAGE).pixels.shape == (20, 30, 3)


def test_written_bags_are_byte_for_byte_what_was_given(bag_path, tmp_path):
    with Bag(bag_path) as bag:
        messages = list(bag.read_messages(bag.topics))
    with BagWriter(tmp_path / 'copy') as writer:
        for message in messages:
            writer.write(message)
    with Bag(tmp_path / 'copy') as bag:
        assert list(bag.read_messages(bag.topics)) == messages


def test_missing_and_mistyped_topics_list_what_there_is(bag_path):
    with Bag(bag_path) as bag:
        assert bag.topic('/image', [IMAGE]).count == 3
        with pytest.raises(
            ValueError, match=r"'/imge' is not in it\. Its topics: /image \(sensor"
        ):
            bag.topic('/imge')
        with pytest.raises(ValueError, match=r'is of type sensor_msgs/msg/Image; expected'):
            bag.topic('/image', [COMPRESSED])


def test_broken_bags_are_refused(bag_path, tmp_path):
    with pytest.raises(FileNotFoundError, match='no bag at'):
        Bag(tmp_path / 'nowhere')
    (storage,) = (path for path in bag_path.iterdir() if path.name != 'metadata.yaml')
    storage.write_bytes(storage.read_bytes()[: storage.stat().st_size // 2])

    def read_all():
        with Bag(bag_path) as bag:
            list(bag.read_messages(bag.topics))

    with pytest.raises(ValueError, match=r'no readable bag|is damaged'):
        read_all()
    (bag_path / 'metadata.yaml').unlink()
    with pytest.raises(ValueError, match='no readable bag'):
        Bag(bag_path)


def test_damaged_messages_are_refused(bag_path):
    with Bag(bag_path) as bag:
        message = next(bag.read_messages(['/image']))
        broken = dataclasses.replace(message, data=message.data[:30])
        with pytest.raises(ValueError, match='a message on /image is damaged'):
            bag.decode_image(broken)


def test_a_recording_is_never_written_over(bag_path):
    with pytest.raises(FileExistsError, match='remove it or choose another'):
        BagWriter(bag_path)


def test_unknown_types_are_refused_when_written(tmp_path):
    with BagWriter(tmp_path / 'bag') as writer, pytest.raises(ValueError, match='nonsense'):
        writer.write(BagMessage('/x', 'nonsense/msg/Thing', 0, b''))


def test_stamps_are_read_in_either_byte_order():
    assert header_stamp_ns(bytes([0, 1, 0, 0]) + b'\x02\0\0\0\x03\0\0\0') == 2_000_000_003
    assert header_stamp_ns(bytes([0, 0, 0, 0]) + b'\0\0\0\x02\0\0\0\x03') == 2_000_000_003
