from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from seg_ros import segmenter
from seg_ros.calibration import (
    MAX_TEMPERATURE,
    ConfidenceHistogram,
    calibrated_temperature,
    fit_temperature,
    sample_logits,
)
from seg_ros.datasets.sample import Sample
from seg_ros.evaluation.scoring import Scoring
from test.conftest import write_primary_model
from test.evaluation.conftest import scene


def softmax(logits):
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def drawn(rng, temperature, count=40_000):
    """Logits, and classes that are drawn with the probabilities of logits / temperature."""
    logits = rng.normal(0, 3, (count, 5))
    shares = softmax(logits / temperature).cumsum(axis=1)
    return logits, (rng.random((count, 1)) > shares).sum(axis=1).clip(max=4)


@pytest.mark.parametrize('temperature', [0.5, 1.0, 2.7, 6.0])
def test_temperature_that_the_classes_were_drawn_with_is_found(temperature):
    sample = drawn(np.random.default_rng(1), temperature)
    assert fit_temperature([sample]) == pytest.approx(temperature, rel=0.05)


def test_fitted_temperature_lowers_the_calibration_error_and_changes_no_label():
    logits, truth = drawn(np.random.default_rng(2), 3.0)
    errors = []
    for temperature in (1.0, fit_temperature([(logits, truth)])):
        shares = softmax(logits / temperature)
        histogram = ConfidenceHistogram()
        confidence = np.round(shares.max(axis=1) * 255).astype(np.uint8)
        labels = shares.argmax(axis=1).astype(np.uint8)
        assert np.array_equal(labels, logits.argmax(axis=1))
        histogram.add(confidence[None], truth[None].astype(np.uint8), labels[None])
        errors.append(histogram.expected_calibration_error())
    assert errors[0] > 0.1
    assert errors[1] < 0.02


def test_logits_that_are_always_right_give_the_lowest_and_random_ones_the_highest():
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (2000, 4))
    assert fit_temperature([(logits, logits.argmax(axis=1))]) < 0.3
    assert fit_temperature([(logits, logits.argmin(axis=1))]) == pytest.approx(MAX_TEMPERATURE)


@pytest.mark.parametrize('samples', [[], [(np.zeros((0, 3)), np.zeros(0, int))]])
def test_nothing_to_fit_on_is_refused(samples):
    with pytest.raises(ValueError, match='no labelled pixel'):
        fit_temperature(samples)


def test_broken_logits_are_refused():
    with pytest.raises(ValueError, match='NaN'):
        fit_temperature([(np.array([[np.nan, 1.0]]), np.array([0]))])


def test_sampled_logits_belong_to_their_pixels():
    truth = np.full((8, 12), 255, np.uint8)
    truth[2:6, 3:9] = 1
    ramp = np.arange(96, dtype=np.float32).reshape(8, 12)
    logits, labels = sample_logits(np.stack([ramp, -ramp]), truth, 10, np.random.default_rng(0))
    assert logits.shape == (10, 2)
    assert (labels == 1).all()
    assert set(logits[:, 0]) <= set(ramp[2:6, 3:9].ravel())
    assert len(set(logits[:, 0])) == 10
    everything, _ = sample_logits(np.stack([ramp, -ramp]), truth, 1000, np.random.default_rng(0))
    assert len(everything) == 24


def test_bins_hold_every_pixel_once_and_their_own_means():
    histogram = ConfidenceHistogram()
    confidence = np.arange(256, dtype=np.uint8)[None]
    truth = np.zeros((1, 256), np.uint8)
    histogram.add(confidence, truth, (confidence % 2).astype(np.uint8))
    bins = histogram.bins(10)
    assert sum(entry.pixels for entry in bins) == 256
    for entry in bins:
        assert entry.low <= entry.confidence <= entry.high
        assert entry.accuracy == pytest.approx(0.5, abs=0.03)


def test_temperature_of_a_model_makes_its_confidence_believable(tmp_path):
    folder = write_primary_model(tmp_path / 'models' / 'primary')
    net = segmenter.load(folder, backend='onnxruntime')
    rng = np.random.default_rng(4)
    samples = []
    for seed in range(20):  # three labels in ten are drawn by lot: no net can be sure of them
        image, labels = scene(seed)
        lot = rng.random(labels.shape) < 0.3
        labels = np.where(lot, rng.integers(0, 3, labels.shape), labels).astype(np.uint8)
        samples.append(Sample(image, labels, name=f'{seed}'))
    temperature = calibrated_temperature(net, samples)
    assert temperature == calibrated_temperature(net, samples)
    errors = []
    for value in (1.0, temperature):
        card = dataclasses.replace(net.card, temperature=value)
        scoring = Scoring(card.classes, with_boundary=False)
        for sample in samples:
            result = segmenter.Segmenter(card, net.backend).segment(sample.image, 'rgb')
            scoring.add(
                sample.name, result.labels, truth_hw=sample.labels, confidence_hw=result.confidence
            )
        errors.append(scoring.calibration.expected_calibration_error())
    assert errors[0] > 0.15
    assert errors[1] < 0.5 * errors[0]
