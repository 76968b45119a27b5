from __future__ import annotations

import math

import numpy as np
import pytest

from seg_ros.evaluation.scoring import Scoring, percentiles
from seg_ros.metrics import boundary_f1, confusion_matrix, scores_from_confusion
from seg_ros.model_card import ClassInfo
from test.conftest import PRIMARY_CLASSES
from test.evaluation.conftest import scene

SPARSE = tuple(ClassInfo(i, f'class_{i}', (i, i, i)) for i in (7, 3, 254))


def test_scores_are_those_of_the_sum_of_the_frames():
    scoring = Scoring(PRIMARY_CLASSES)
    matrix = np.zeros((3, 4), np.int64)
    contours = []
    for seed in range(5):
        _, truth = scene(seed)
        prediction = np.roll(scene(seed + 100)[1], 3, axis=1)
        scoring.add(f'{seed}', prediction, truth_hw=truth)
        matrix += confusion_matrix(truth, prediction, 3)
        contours.append(boundary_f1(truth, prediction, 3))
    assert np.array_equal(scoring.matrix, matrix)
    expected = scores_from_confusion(matrix)
    assert scoring.scores.mean_iou == expected.mean_iou
    assert np.allclose(scoring.boundary, np.nanmean(contours, axis=0))
    assert scoring.scored == scoring.frames == 5


def test_ids_are_matched_to_classes_wherever_they_lie():
    scoring = Scoring(SPARSE)
    truth = np.array([[7, 3], [254, 255]], np.uint8)
    assert scoring.add('a', truth, truth_hw=truth) == 1.0
    assert scoring.matrix.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    assert scoring.shares.tolist() == [[0.25, 0.25, 0.25, 0.25]]


def test_truth_with_unknown_ids_is_counted_listed_and_not_scored():
    scoring = Scoring(PRIMARY_CLASSES)
    labels = np.zeros((4, 4), np.uint8)
    truth = labels.copy()
    truth[0, 0] = 11
    assert math.isnan(scoring.add('frame 1', labels, truth_hw=truth))
    assert (scoring.frames, scoring.scored) == (1, 0)
    assert not scoring.matrix.any()
    (entry,) = scoring.skips.to_json()['reasons']
    assert entry['count'] == 1
    assert entry['items'] == ['frame 1: id 11']
    with pytest.raises(ValueError, match=r'none of 1 frames could be scored.*outside the classes'):
        scoring.demand_scores()


def test_void_ids_of_the_truth_are_left_out():
    scoring = Scoring(PRIMARY_CLASSES, void_ids=[11])
    labels = np.zeros((4, 4), np.uint8)
    truth = labels.copy()
    truth[0] = 11
    assert scoring.add('a', labels, truth_hw=truth) == 1.0
    assert scoring.matrix.sum() == 12


@pytest.mark.parametrize(
    ('void_ids', 'message'), [([1], 'are classes'), ([300], 'outside 0..255')]
)
def test_wrong_void_ids_are_refused(void_ids, message):
    with pytest.raises(ValueError, match=message):
        Scoring(PRIMARY_CLASSES, void_ids=void_ids)


def test_truth_of_another_size_is_counted_and_not_scored():
    scoring = Scoring(PRIMARY_CLASSES)
    scoring.add('a', np.zeros((4, 6), np.uint8), truth_hw=np.zeros((2, 3), np.uint8))
    assert scoring.scored == 0
    assert scoring.skips.lines() == ['1 x truth of another size: a: 3x2 for an image of 6x4']


def test_prediction_with_unknown_ids_is_no_frame():
    scoring = Scoring(PRIMARY_CLASSES)
    scoring.add('a', np.full((2, 2), 9, np.uint8), truth_hw=np.zeros((2, 2), np.uint8))
    assert (scoring.frames, scoring.skips.count) == (0, 1)


def test_calibration_counts_labelled_pixels_only():
    scoring = Scoring(PRIMARY_CLASSES)
    truth = np.array([[0, 0, 255, 1]], np.uint8)
    prediction = np.array([[0, 1, 1, 255]], np.uint8)
    confidence = np.array([[255, 51, 51, 0]], np.uint8)
    scoring.add('a', prediction, truth_hw=truth, confidence_hw=confidence)
    assert scoring.calibration.pixels == 2
    # one sure and right, one at 0.2 and wrong: (0 + 0.2) / 2
    assert scoring.calibration.expected_calibration_error() == pytest.approx(0.1)


def test_percentiles_leave_out_what_is_not_known():
    assert percentiles([math.nan, 3.0, 1.0, 2.0])['p50'] == 2.0
    assert percentiles([math.nan]) == {}
