from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seg_ros.pairing import pair_stamps


def test_equal_stamps_are_paired_in_any_order():
    pairing = pair_stamps([30, 10, 20], [20, 30, 10])
    assert pairing.label_of_image == {0: 1, 1: 2, 2: 0}
    assert pairing.lone_images == pairing.lone_labels == ()


def test_without_slop_a_nanosecond_parts_a_pair():
    pairing = pair_stamps([10, 20], [11, 20])
    assert pairing.label_of_image == {1: 1}
    assert (pairing.lone_images, pairing.lone_labels) == ((0,), (0,))


def test_within_slop_the_nearest_label_wins_and_is_used_once():
    pairing = pair_stamps([100, 110], [109], slop_ns=10)
    assert pairing.label_of_image == {1: 0}
    assert pairing.lone_images == (0,)


def test_repeated_stamps_are_never_paired():
    pairing = pair_stamps([5, 5, 7], [5, 7], slop_ns=100)
    assert pairing.label_of_image == {2: 1}
    assert pairing.repeated_images == (0, 1)
    assert pairing.lone_labels == (0,)


def test_messages_without_a_stamp_are_left_to_the_caller():
    pairing = pair_stamps([None, 3], [3, None])
    assert pairing.label_of_image == {1: 0}
    assert pairing.lone_images == pairing.lone_labels == ()


def test_negative_slop_is_refused():
    with pytest.raises(ValueError, match='slop is -1'):
        pair_stamps([1], [1], -1)


@given(
    st.lists(st.integers(0, 200), max_size=30),
    st.lists(st.integers(0, 200), max_size=30),
    st.integers(0, 20),
)
def test_every_message_ends_up_in_exactly_one_place(images, labels, slop):
    pairing = pair_stamps(images, labels, slop)
    paired = pairing.label_of_image
    assert len(set(paired.values())) == len(paired)
    assert all(abs(images[i] - labels[j]) <= slop for i, j in paired.items())
    everything = [*paired, *pairing.lone_images, *pairing.repeated_images]
    assert sorted(everything) == list(range(len(images)))
    everything = [*paired.values(), *pairing.lone_labels, *pairing.repeated_labels]
    assert sorted(everything) == list(range(len(labels)))
