"""The live evaluation without ROS: bytes in any order and with gaps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from seg_ros.bags import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE
from seg_ros.evaluation.live import LiveEvaluation
from seg_ros.evaluation.recording import to_image_message
from seg_ros.evaluation.scoring import Scoring
from test.conftest import PRIMARY_CLASSES
from test.evaluation.conftest import PERIOD_NS, START_NS, compressed_message, scene

ALL = ('image', 'truth', 'label_mask', 'confidence')


def messages(index):
    """The four messages of a frame, and its truth and prediction."""
    stamp = START_NS + index * PERIOD_NS
    image, truth = scene(index)
    prediction = np.roll(truth, 2, axis=1)
    prediction[prediction == 255] = 0
    confidence = np.full(truth.shape, 200, np.uint8)
    parts = {
        'image': (COMPRESSED_IMAGE_TYPE, compressed_message(image, stamp)),
        'truth': (IMAGE_TYPE, to_image_message(truth, 'mono8', stamp, '')),
        'label_mask': (IMAGE_TYPE, to_image_message(prediction, 'mono8', stamp, '')),
        'confidence': (IMAGE_TYPE, to_image_message(confidence, 'mono8', stamp, '')),
    }
    return parts, truth, prediction, confidence


def test_scores_do_not_depend_on_the_order_of_the_messages():
    scoring, expected = Scoring(PRIMARY_CLASSES), Scoring(PRIMARY_CLASSES)
    live = LiveEvaluation(scoring, ALL)
    for index, order in enumerate(itertools.permutations(ALL)):
        parts, truth, prediction, confidence = messages(index)
        for step, part in enumerate(order):
            live.receive(part, *parts[part], index + step * 0.01)
        expected.add('', prediction, truth_hw=truth, confidence_hw=confidence)
    live.finish()
    assert scoring.scored == 24
    assert np.array_equal(scoring.matrix, expected.matrix)
    assert np.array_equal(scoring.calibration.counts, expected.calibration.counts)
    assert not scoring.dropped_s
    assert live.pending == 0


def test_frames_without_a_mask_are_dropped_after_a_while_and_not_before():
    scoring = Scoring(PRIMARY_CLASSES)
    live = LiveEvaluation(scoring, ALL, drop_after_s=2.0)
    for index in range(5):
        parts, *_ = messages(index)
        for part in ALL if index != 3 else ('image', 'truth'):
            live.receive(part, *parts[part], float(index))
    live.settle(4.5)
    assert scoring.dropped_s == []
    live.settle(5.5)
    assert scoring.dropped_s == pytest.approx([0.3])
    live.finish()
    assert scoring.scored == 4


def test_mask_without_truth_is_counted_and_truth_without_image_listed():
    scoring = Scoring(PRIMARY_CLASSES)
    live = LiveEvaluation(scoring, ALL)
    parts, *_ = messages(0)
    live.receive('image', *parts['image'], 0.0)
    live.receive('label_mask', *parts['label_mask'], 0.1)
    live.receive('truth', *messages(1)[0]['truth'], 0.2)
    live.finish()
    assert (scoring.frames, scoring.scored) == (1, 0)
    assert {entry['reason'] for entry in scoring.skips.to_json()['reasons']} == {
        'label mask without a truth',
        'truth without an image',
    }


def test_broken_messages_are_counted_and_do_not_end_the_scoring():
    scoring = Scoring(PRIMARY_CLASSES)
    live = LiveEvaluation(scoring, ('truth', 'label_mask'))
    live.receive('truth', IMAGE_TYPE, b'\x00\x01', 0.0)
    for index in range(3):
        parts, *_ = messages(index)
        kind, data = parts['truth']
        live.receive('truth', kind, data[:-100] if index == 1 else data, 0.0)
        live.receive('label_mask', *parts['label_mask'], 0.0)
    live.finish()
    assert scoring.scored == 2
    assert scoring.skips.count == 2


def test_latency_is_that_of_the_stamps_unless_they_are_those_of_a_recording():
    for age_ms, source, expected in (
        (30.0, 'From the header', 30.0),
        (1e12, 'From the arr', 80.0),
    ):
        scoring = Scoring(PRIMARY_CLASSES)
        live = LiveEvaluation(scoring, ('image', 'truth', 'label_mask'))
        parts, *_ = messages(0)
        live.receive('image', *parts['image'], 1.0)
        live.receive('truth', *parts['truth'], 1.0)
        live.receive('label_mask', *parts['label_mask'], 1.08, age_ms)
        live.finish()
        assert live.measure()['latency_is'].startswith(source)
        assert list(scoring.latencies_ms) == pytest.approx([expected])


def test_memory_of_pending_frames_is_bounded():
    scoring = Scoring(PRIMARY_CLASSES)
    live = LiveEvaluation(scoring, ALL, drop_after_s=1e6, max_pending=10)
    for index in range(50):
        live.receive('image', *messages(index)[0]['image'], 0.0)
    assert live.pending == 10
    live.finish()
    assert len(scoring.dropped_s) == 50


def test_mask_that_comes_too_late_is_listed_and_the_frame_stays_dropped():
    scoring = Scoring(PRIMARY_CLASSES)
    live = LiveEvaluation(scoring, ALL, drop_after_s=1.0)
    parts, *_ = messages(0)
    for part in ('image', 'truth'):
        live.receive(part, *parts[part], 0.0)
    live.settle(2.0)
    for part in ('label_mask', 'confidence'):
        live.receive(part, *parts[part], 2.5)
    assert live.pending == 0
    for part in ALL:  # the bag plays again
        live.receive(part, *parts[part], 10.0)
    live.finish()
    assert (len(scoring.dropped_s), scoring.scored) == (1, 1)
    assert scoring.skips.lines()[0].startswith('1 x label mask of a frame counted as dropped')
