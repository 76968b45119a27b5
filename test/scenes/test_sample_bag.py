import numpy as np
import pytest

from seg_ros.bags import Bag, header_frame_id, header_stamp_ns
from seg_ros.scenes.sample_bag import IMAGE_TOPIC, INFO_TOPIC, LABELS_TOPIC, write_walk

TOPICS = (IMAGE_TOPIC, INFO_TOPIC, LABELS_TOPIC)


@pytest.fixture(scope='module')
def walk_bag(tmp_path_factory, renderer):
    path = tmp_path_factory.mktemp('walk') / 'bag'
    write_walk(path, count=3, rate_hz=5.0, seed=2, width_px=160, height_px=120)
    return path


def test_every_frame_has_image_info_and_labels_of_one_stamp(walk_bag):
    with Bag(walk_bag) as bag:
        assert {topic.count for topic in bag.topics.values()} == {3}
        stamps = {topic: [] for topic in TOPICS}
        for message in bag.read_messages(TOPICS):
            stamps[message.topic].append(header_stamp_ns(message.data))
            assert header_frame_id(message.data) == 'camera'
    assert stamps[IMAGE_TOPIC] == stamps[INFO_TOPIC] == stamps[LABELS_TOPIC]
    assert np.diff(stamps[IMAGE_TOPIC]).tolist() == [200_000_000, 200_000_000]


def test_images_and_labels_decode_to_their_size(walk_bag):
    with Bag(walk_bag) as bag:
        images = [bag.decode_image(one) for one in bag.read_messages([IMAGE_TOPIC])]
        labels = [bag.decode_labels(one) for one in bag.read_messages([LABELS_TOPIC])]
    for image, truth in zip(images, labels, strict=True):
        assert truth.shape == (120, 160)
        assert set(np.unique(truth)) >= {0, 2, 3}
        green = image.pixels[truth == 3].mean(axis=0)
        assert green[1] > max(green[0], green[2])


def test_camera_info_is_that_of_the_view(walk_bag):
    with Bag(walk_bag) as bag:
        message = next(iter(bag.read_messages([INFO_TOPIC])))
        info = bag.deserialize(message)
    assert (info.width, info.height) == (160, 120)
    assert info.k[0] == pytest.approx(80 / np.tan(np.radians(37)))
    assert (info.k[2], info.k[5]) == (79.5, 59.5)
    assert info.d.tolist() == [0.0] * 5


def test_existing_bags_and_bad_rates_are_refused(walk_bag, tmp_path):
    with pytest.raises(FileExistsError, match='exists'):
        write_walk(walk_bag, count=1, rate_hz=1.0, seed=0)
    with pytest.raises(ValueError, match='0 frames'):
        write_walk(tmp_path / 'b', count=0, rate_hz=1.0, seed=0)
