"""Short runs of what ``make fuzz`` does for long, and single files that ask for too much."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

from seg_ros import segmenter
from seg_ros.image import decode_compressed_image, decode_compressed_labels
from test.robustness.aftermath import BACKGROUND, BALL, FIELD, what_follows_is_wrong
from test.robustness.frames import fuzz_bags, fuzz_decoder
from test.robustness.image_files import fuzz_image_files
from test.robustness.strategies import bombs, pictures
from test.robustness.tally import resident_mb, table


@pytest.fixture
def net(primary_model):
    return segmenter.load(primary_model, backend='onnxruntime')


def test_lying_messages_are_refused_and_the_others_keep_their_size(net):
    tallies = fuzz_decoder(net, 150)
    assert not sum(tally.losses for tally in tallies), table(tallies)
    for tally in tallies[:2]:
        assert tally.served >= 10, table(tallies)
        assert tally.rejected.total() >= 10, table(tallies)


def test_damaged_image_files_are_refused_or_keep_their_size(tmp_path):
    damaged, padded = fuzz_image_files(tmp_path, 200)
    assert not damaged.losses + padded.losses, table([damaged, padded])
    assert damaged.served >= 10
    assert damaged.rejected.total() >= 10
    assert padded.served == padded.cases


@pytest.mark.parametrize('size', [(1, 1), (4, 1), (1, 4), (1, 3), (3, 1), (2, 2), (1, 500)])
def test_images_of_a_few_pixels_give_as_many_labels(net, size):
    red = np.zeros((*size, 3), np.uint8)
    red[..., 0] = 255
    result = net.segment(red, 'rgb', min_confidence=0.1)
    np.testing.assert_array_equal(result.labels, np.zeros(size))
    assert result.confidence.shape == size
    assert result.confidence.min() > 250


@pytest.mark.parametrize('height', [1, 2, 3, 4, 5, 48])
@pytest.mark.parametrize('width', [1, 2, 3, 4, 7, 11, 64])
def test_labels_of_a_few_pixels_go_through_every_setting(height, width):
    rng = np.random.default_rng(height * width)
    mixed = rng.choice(np.array([BALL, FIELD, BACKGROUND, 255], np.uint8), (height, width))
    whole = [np.full((height, width), label, np.uint8) for label in (BALL, FIELD, 255)]
    for labels in (mixed, *whole):
        assert what_follows_is_wrong(labels, np.full((height, width), 200, np.uint8)) is None


def test_bad_messages_of_a_bag_are_listed_and_the_others_read(tmp_path):
    tallies = fuzz_bags(tmp_path, 100)
    assert not sum(tally.losses for tally in tallies), table(tallies)
    for tally in tallies:
        assert tally.served + tally.rejected.total() == tally.cases == 100
        assert tally.served
        assert tally.rejected


@pytest.mark.parametrize('data', pictures())
def test_every_kind_of_jpeg_and_png_is_decoded(data):
    image = decode_compressed_image(SimpleNamespace(format='', data=data))
    assert image.pixels.shape in {(48, 64, 3), (37, 53, 3)}


@pytest.mark.parametrize('decode', [decode_compressed_image, decode_compressed_labels])
@pytest.mark.parametrize('data', bombs())
def test_small_files_that_ask_for_much_are_refused_before_they_are_decoded(decode, data):
    before_mb, began = resident_mb(), time.monotonic()
    with pytest.raises(ValueError, match=r'compressed image|image size|label image'):
        decode(SimpleNamespace(format='', data=data))
    assert resident_mb() - before_mb < 50  # one of them asks for 12 GB
    assert time.monotonic() - began < 5  # OpenCV alone works on some of them for longer


def test_a_frame_header_cannot_hide_behind_a_marker_that_readers_understand_differently():
    *_, hidden, _scans = bombs()
    with pytest.raises(ValueError, match='without a frame header'):
        decode_compressed_image(SimpleNamespace(format='jpeg', data=hidden))


def test_reasons_quote_no_more_than_a_few_characters():
    message = SimpleNamespace(format='x' * 100_000, data=b'nothing')
    with pytest.raises(ValueError, match='neither JPEG nor PNG') as caught:
        decode_compressed_image(message)
    assert len(str(caught.value)) < 200
