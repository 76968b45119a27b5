import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seg_ros.metrics import boundary_f1, confusion_matrix, scores_from_confusion


def score(truth, prediction, num_classes=3):
    matrix = confusion_matrix(np.uint8([truth]), np.uint8([prediction]), num_classes)
    return scores_from_confusion(matrix)


def test_scores_follow_their_definitions():
    # class 0: TP 2, FN 1, FP 1; class 1: TP 1, FN 1, FP 1
    result = score([0, 0, 0, 1, 1], [0, 0, 1, 1, 0], num_classes=2)
    np.testing.assert_allclose(result.iou, [2 / 4, 1 / 3])
    np.testing.assert_allclose(result.precision, [2 / 3, 1 / 2])
    np.testing.assert_allclose(result.recall, [2 / 3, 1 / 2])
    np.testing.assert_allclose(result.f1, [2 / 3, 1 / 2])
    assert result.mean_iou == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert result.pixel_accuracy == pytest.approx(3 / 5)
    assert result.class_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert result.weighted_iou == pytest.approx((3 * 1 / 2 + 2 * 1 / 3) / 5)
    assert result.pixels.tolist() == [3, 2]


def test_void_of_the_truth_is_left_out():
    with_void = score([0, 1, 255, 255], [0, 1, 0, 2])
    without = score([0, 1], [0, 1])
    np.testing.assert_array_equal(with_void.iou, without.iou)
    assert with_void.pixel_accuracy == 1.0


def test_a_class_in_neither_has_no_score_and_a_missed_one_scores_zero():
    result = score([0, 0, 1], [0, 0, 0])
    assert result.iou[1] == 0.0
    assert math.isnan(result.iou[2])
    assert result.mean_iou == pytest.approx((2 / 3 + 0) / 2)
    assert math.isnan(result.precision[1])  # never predicted
    assert result.recall[1] == 0.0


def test_an_invented_class_scores_zero():
    result = score([0, 0], [0, 2])
    assert result.iou[2] == 0.0
    assert result.mean_iou == pytest.approx(0.25)


def test_pixels_that_got_no_class_are_misses_and_no_false_positives():
    result = score([0, 0, 1], [0, 255, 1])
    np.testing.assert_allclose(result.iou[:2], [0.5, 1.0])
    assert result.pixel_accuracy == pytest.approx(2 / 3)
    assert result.precision[0] == 1.0


def test_nothing_labelled_gives_no_score():
    result = score([255, 255], [0, 1])
    assert math.isnan(result.mean_iou)
    assert math.isnan(result.pixel_accuracy)


def test_ids_that_are_no_class_and_other_sizes_are_refused():
    with pytest.raises(ValueError, match='truth holds 7'):
        score([7], [0])
    with pytest.raises(ValueError, match='prediction holds 3'):
        score([0], [3])
    with pytest.raises(ValueError, match='size of the truth'):
        confusion_matrix(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 2)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_matrix_equals_counting_and_adds_up_over_images(pairs):
    truth, prediction = (np.array([column], np.uint8) for column in zip(*pairs, strict=True))
    matrix = confusion_matrix(truth, prediction, 4)
    for row in range(4):
        for column in range(4):
            assert matrix[row, column] == sum(pair == (row, column) for pair in pairs)
    half = len(pairs) // 2
    parts = [
        confusion_matrix(truth[:, part], prediction[:, part], 4)
        for part in (slice(half), slice(half, None))
    ]
    np.testing.assert_array_equal(parts[0] + parts[1], matrix)


def disc(center, radius=12, size=(64, 64)):
    rows, columns = np.ogrid[: size[0], : size[1]]
    inside = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 <= radius**2
    return inside.astype(np.uint8)


def test_boundary_f1_is_one_for_the_same_contour_and_falls_with_distance():
    truth = disc((32, 32))
    np.testing.assert_allclose(boundary_f1(truth, truth, 2), [1, 1])
    near = boundary_f1(truth, disc((32, 33)), 2, tolerance_px=1.5)
    far = boundary_f1(truth, disc((32, 40)), 2, tolerance_px=1.5)
    np.testing.assert_allclose(near, [1, 1])
    assert (far < 0.5).all()
    assert (far > 0).all()


def test_boundary_f1_of_a_class_in_one_only_is_zero_and_in_neither_none():
    truth = disc((32, 32))
    result = boundary_f1(truth, np.zeros_like(truth), 3)
    assert result[1] == 0.0
    assert math.isnan(result[2])


def reference_boundary_f1(truth, prediction, class_id, tolerance_px):
    """By the definition, pixel by pixel: precision and recall of contours within a distance."""

    def contour(labels):
        rows, columns = truth.shape
        return [
            (y, x)
            for y, x in np.ndindex(truth.shape)
            if truth[y, x] != 255
            and labels[y, x] == class_id
            and any(
                truth[v, u] != 255 and labels[v, u] != class_id
                for v in range(max(0, y - 1), min(rows, y + 2))
                for u in range(max(0, x - 1), min(columns, x + 2))
            )
        ]

    def share_near(pixels, others):
        near = [any(math.dist(p, o) <= tolerance_px for o in others) for p in pixels]
        return sum(near) / len(near) if near else 0.0

    true, predicted = contour(truth), contour(prediction)
    if not true and not predicted:
        return math.nan
    precision, recall = share_near(predicted, true), share_near(true, predicted)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def test_boundary_f1_ignores_what_lies_on_void():
    truth = disc((32, 32))
    truth[:, 40:] = 255
    prediction = disc((32, 32))
    prediction[:, 42:] = 1 - prediction[:, 42:]
    np.testing.assert_allclose(boundary_f1(truth, prediction, 2), [1, 1])


def test_the_edge_of_void_is_no_contour_that_both_agree_on():
    # Rows of class 0 over class 1, a void band between them; the prediction has its edge 3 rows
    # below the band, where the truth has none: nothing agrees.
    truth = np.zeros((16, 8), np.uint8)
    truth[6:8], truth[8:] = 255, 1
    prediction = np.zeros_like(truth)
    prediction[11:] = 1
    np.testing.assert_array_equal(boundary_f1(truth, prediction, 2, tolerance_px=1.0), [0, 0])
    prediction[8:] = 1  # as the truth has it: no contour anywhere
    assert np.isnan(boundary_f1(truth, prediction, 2, tolerance_px=1.0)).all()


@pytest.mark.parametrize('seed', range(8))
def test_boundary_f1_is_what_its_definition_gives_pixel_by_pixel(seed):
    rng = np.random.default_rng(seed)
    truth, prediction = (
        np.kron(rng.integers(0, 3, (5, 6)), np.ones((4, 4))).astype(np.uint8) for _ in range(2)
    )
    prediction = np.where(rng.random(truth.shape) < 0.7, truth, prediction)
    truth[np.kron(rng.random((5, 6)) < 0.3, np.ones((4, 4))) > 0] = 255
    expected = [reference_boundary_f1(truth, prediction, each, 1.5) for each in range(3)]
    found = boundary_f1(truth, prediction, 3, tolerance_px=1.5)
    np.testing.assert_allclose(found, expected, atol=1e-12)
