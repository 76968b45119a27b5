from __future__ import annotations

import pytest
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from seg_ros import bag_compression
from seg_ros.bags import IMAGE_TYPE, Bag
from test.robustness.bag_files import HOSTILE_YAML, KINDS, fuzz_bag_files, write_bag, write_bomb
from test.robustness.frames import valid_image
from test.robustness.tally import resident_mb, table


def read_all(path):
    with Bag(path) as bag:
        return list(bag.read_messages(bag.topics))


def test_damaged_bags_are_refused_or_read_whole(tmp_path):
    tallies = fuzz_bag_files(tmp_path, 120)
    assert not sum(tally.losses for tally in tallies), table(tallies)
    for tally in tallies:
        assert tally.served
        assert tally.rejected


@pytest.mark.parametrize('text', HOSTILE_YAML, ids=range(len(HOSTILE_YAML)))
def test_hostile_metadata_is_refused(tmp_path, text):
    bag = write_bag(tmp_path / 'bag', *KINDS['mcap'])
    (bag / 'metadata.yaml').write_text(text, encoding='utf-8')
    with pytest.raises(ValueError, match='no readable rosbag2'):
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


def test_compressed_messages_may_consist_of_several_frames():
    pieces = [b'one', b'two']
    data = b''.join(map(bag_compression.zstd.compress, pieces))
    assert bag_compression.expand(data) == b'onetwo'
    with pytest.raises(ValueError, match='too early'):
        bag_compression.expand(data[:-2])


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
