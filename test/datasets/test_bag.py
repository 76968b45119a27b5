"""Bags as data sets: which label belongs to which image, and where they may be read."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from seg_ros.bag_writer import BagWriter
from seg_ros.bags import Bag, BagMessage
from seg_ros.datasets import build_dataset
from seg_ros.evaluation.recording import to_image_message


def stamped_bag(path, image_stamps, label_stamps):
    """One image and one label per stamp; the ids of a label tell which of them it is."""
    with BagWriter(path / 'recording') as bag:
        for topic, stamps, encoding in (
            ('/camera', image_stamps, 'bgr8'),
            ('/ground_truth/labels', label_stamps, 'mono8'),
        ):
            for position, stamp in enumerate(stamps):
                depth = (3,) if encoding == 'bgr8' else ()
                pixels = np.full((4, 6, *depth), position % 2, np.uint8)
                message = to_image_message(pixels, encoding, stamp, 'camera')
                bag.write(BagMessage(topic, 'sensor_msgs/msg/Image', 10**18 + stamp, message))
    classes = path / 'classes.yaml'
    classes.write_text(
        'classes: [{name: a, color: [0, 0, 0]}, {name: b, color: [1, 1, 1]}]', encoding='utf-8'
    )
    return path / 'recording', {'classes': str(classes), 'tolerance_ms': 30.0}


def test_a_label_of_a_bag_belongs_to_one_image_only(tmp_path):
    """As in evaluation: the nearest; the other image has none, and that is said."""
    ms = 1_000_000
    bag, options = stamped_bag(tmp_path, [0, 20 * ms, 100 * ms, 200 * ms], [18 * ms, 101 * ms])
    dataset = build_dataset('bag', bag, options=options)
    assert dataset.names == (f'{20 * ms}', f'{100 * ms}')
    assert [int(dataset[i].labels[0, 0]) for i in range(2)] == [0, 1]
    assert dataset.remarks == ('2 x image without a label',)


def test_messages_of_a_bag_recorded_at_one_moment_are_told_apart_by_their_stamps(tmp_path):
    bag, options = stamped_bag(tmp_path, [10, 20], [10, 20])
    with Bag(bag) as source, BagWriter(tmp_path / 'burst') as burst:
        for message in source.read_messages(source.topics):
            burst.write(replace(message, time_ns=5))
    dataset = build_dataset('bag', tmp_path / 'burst', options=options | {'tolerance_ms': 0.0})
    for index in range(2):
        assert (dataset[index].labels == index).all()
        assert (dataset[index].image == index).all()


def test_a_bag_goes_into_processes_that_are_spawned(tmp_path):
    bag, options = stamped_bag(tmp_path, [10, 20], [10, 20])
    dataset = build_dataset('bag', bag, options=options)
    dataset[0]  # opens it
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301 (as multiprocessing does)
    np.testing.assert_array_equal(copy[1].labels, dataset[1].labels)


def test_a_message_without_a_header_is_left_out(tmp_path):
    bag, options = stamped_bag(tmp_path, [10, 20], [10, 20])
    with Bag(bag) as source, BagWriter(tmp_path / 'odd') as odd:
        for message in source.read_messages(source.topics):
            odd.write(message)
            odd.write(replace(message, data=b'\0\1\0\0\0\0\0\0'))
    assert len(build_dataset('bag', tmp_path / 'odd', options=options)) == 2


@pytest.mark.parametrize(
    'text', ['classes: !!python/name:os.system', '[' * 5000, 'classes: 7', '- 1', 'classes: [x']
)
def test_a_wrong_list_of_classes_is_explained(tmp_path, text):
    bag, options = stamped_bag(tmp_path, [10, 20], [10, 20])
    (tmp_path / 'classes.yaml').write_text(text)
    with pytest.raises(ValueError, match=r'classes\.yaml'):
        build_dataset('bag', bag, options=options)
