from __future__ import annotations

import numpy as np
import pytest

from seg_ros.classify import Classifier


def logits_of(seed, classes=5, rows=9, columns=13):
    return np.random.default_rng(seed).normal(0, 3, (classes, rows, columns)).astype(np.float32)


@pytest.mark.parametrize('temperature', [1.0, 1.7])
@pytest.mark.parametrize('size', [(36, 52), (9, 13), (31, 40)])
def test_it_is_bilinear_interpolation_argmax_and_softmax(size, temperature):
    torch = pytest.importorskip('torch')
    classifier = Classifier(size, temperature=temperature)
    for seed in range(3):  # the buffers of one image must not show in the next
        logits = logits_of(seed)
        large = torch.nn.functional.interpolate(
            torch.from_numpy(logits)[None], size, mode='bilinear', align_corners=False
        )[0]
        labels, confidence = classifier.labels_and_confidence(logits)
        np.testing.assert_array_equal(labels, large.argmax(0).numpy())
        np.testing.assert_array_equal(classifier.labels(logits), labels)
        expected = (large / temperature).softmax(0).amax(0).numpy() * 255
        np.testing.assert_allclose(confidence, expected, atol=0.51)
        assert labels.dtype == confidence.dtype == np.uint8


def test_ties_go_to_the_lower_channel():
    logits = np.zeros((3, 2, 2), np.float32)
    logits[2, 0, 0] = logits[1, 0, 0] = 1
    np.testing.assert_array_equal(Classifier((2, 2)).labels(logits), [[1, 0], [0, 0]])


def test_views_of_larger_logits_are_taken_and_left_as_they_are():
    logits = logits_of(0, rows=12, columns=20)
    before, view = logits.copy(), logits[:, :9, :13]
    found = Classifier((36, 52)).labels_and_confidence(view)
    expected = Classifier((36, 52)).labels_and_confidence(view.copy())
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(logits, before)
    same_size = Classifier((9, 13)).labels_and_confidence(view)[0]
    np.testing.assert_array_equal(same_size, view.argmax(0))
    np.testing.assert_array_equal(logits, before)


def test_all_254_other_channels_can_win():
    logits = np.full((255, 1, 255), -1, np.float32)
    logits[np.arange(255), 0, np.arange(255)] = 1
    np.testing.assert_array_equal(Classifier((1, 255)).labels(logits)[0], np.arange(255))
