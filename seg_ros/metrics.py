"""Scores of a segmentation: confusion matrix, IoU, accuracy, precision, recall, boundary F1.

Void pixels of the truth are left out everywhere. A class that neither truth nor prediction holds
has no score (NaN) and is left out of means; one that the truth holds and the prediction never hits
scores 0 and is part of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from seg_ros.model_card import VOID_ID

BOUNDARY_TOLERANCE = 0.0075  # of the image's diagonal, as SegNet (arXiv:1511.00561) takes it


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix says; arrays have one entry per class, fractions in 0..1.

    Attributes:
        iou: TP / (TP + FP + FN) per class.
        precision: TP / (TP + FP) per class; NaN where nothing was predicted.
        recall: TP / (TP + FN) per class; NaN where the truth has none.
        f1: 2 TP / (2 TP + FP + FN) per class.
        mean_iou: Mean of ``iou`` over the classes that have one.
        pixel_accuracy: Share of labelled pixels that are right ("global accuracy").
        class_accuracy: Mean of ``recall`` over the classes that have one.
        weighted_iou: ``iou`` weighted by the share of each class in the truth.
        pixels: Labelled pixels of the truth per class.
    """

    iou: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    mean_iou: float
    pixel_accuracy: float
    class_accuracy: float
    weighted_iou: float
    pixels: np.ndarray


def confusion_matrix(
    truth_hw: np.ndarray, prediction_hw: np.ndarray, num_classes: int
) -> np.ndarray:
    """Count pixels by true and predicted class.

    Args:
        truth_hw: (H, W) uint8 in 0..num_classes-1, or 255 for void.
        prediction_hw: (H, W) uint8, alike; 255 where the segmenter gave no class.
        num_classes: Number of classes.

    Returns:
        (num_classes, num_classes + 1) int64: rows are the truth, columns the prediction, the last
        column pixels without a predicted class. Matrices of several images are added.

    Raises:
        ValueError: If the shapes differ or a value is neither a class nor void.
    """
    if truth_hw.shape != prediction_hw.shape:
        raise ValueError(
            f'truth is {truth_hw.shape} and prediction {prediction_hw.shape}: bring the '
            'prediction to the size of the truth'
        )
    # One count over all pairs of bytes; what is no class is seen in the counts, not in the pixels.
    pairs = (truth_hw.astype(np.uint16) << 8) | prediction_hw
    counts = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
    for what, present in (('truth', counts.any(axis=1)), ('prediction', counts.any(axis=0))):
        if strange := [i for i in np.flatnonzero(present) if num_classes <= i < VOID_ID]:
            raise ValueError(
                f'{what} holds {strange[-1]}; allowed are 0..{num_classes - 1} and {VOID_ID}'
            )
    columns = [*range(num_classes), VOID_ID]
    return counts[:num_classes, columns].astype(np.int64)


def scores_from_confusion(matrix: np.ndarray) -> Scores:
    """Compute the scores of a confusion matrix.

    Args:
        matrix: (C, C + 1) as ``confusion_matrix`` gives it, or (C, C).

    Raises:
        ValueError: If the matrix has another shape or a negative count.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[1] - counts.shape[0] not in (0, 1) or counts.min() < 0:
        raise ValueError(f'expected (C, C) or (C, C + 1) counts, got shape {counts.shape}')
    num_classes = len(counts)
    truth = counts.sum(axis=1)
    predicted = counts[:, :num_classes].sum(axis=0)
    hits = np.diag(counts)
    iou = _ratio(hits, truth + predicted - hits)
    recall = _ratio(hits, truth)
    total = truth.sum()
    return Scores(
        iou=iou,
        precision=_ratio(hits, predicted),
        recall=recall,
        f1=_ratio(2 * hits, truth + predicted),
        mean_iou=_mean(iou),
        pixel_accuracy=float(hits.sum() / total) if total else math.nan,
        class_accuracy=_mean(recall),
        weighted_iou=float(np.nansum(iou * truth) / total) if total else math.nan,
        pixels=truth.astype(np.int64),
    )


def boundary_f1(
    truth_hw: np.ndarray,
    prediction_hw: np.ndarray,
    num_classes: int,
    tolerance_px: float | None = None,
) -> np.ndarray:
    """Agreement of class contours in one image (Csurka et al., BMVC 2013).

    Args:
        truth_hw: (H, W) uint8 class ids, 255 = void. Void is no neighbour: neither the truth nor
            the prediction has a contour along it, as nobody knows what lies behind it.
        prediction_hw: (H, W) uint8 class ids.
        num_classes: Number of classes.
        tolerance_px: How far contours may lie apart; 0.75 % of the diagonal when None.

    Returns:
        (num_classes,) float64 in 0..1, NaN for classes with a contour in neither. The score of a
        data set is the mean over its images, then over the classes.
    """
    if tolerance_px is None:
        tolerance_px = BOUNDARY_TOLERANCE * math.hypot(*truth_hw.shape)
    void = truth_hw == VOID_ID
    result = np.full(num_classes, math.nan)
    for class_id in range(num_classes):
        true_contour = _contour(truth_hw == class_id, void)
        contour = _contour((prediction_hw == class_id) & ~void, void)
        either = true_contour | contour
        if not either.any():
            continue
        # Distances are needed between contours only; most classes fill a small part of an image.
        left, top, width, height = cv2.boundingRect(either.astype(np.uint8))
        inside = np.s_[top : top + height, left : left + width]
        true_contour, contour = true_contour[inside], contour[inside]
        precision = _share_near(contour, true_contour, tolerance_px)
        recall = _share_near(true_contour, contour, tolerance_px)
        both = precision + recall
        result[class_id] = 2 * precision * recall / both if both else 0.0
    return result


def _contour(mask_hw: np.ndarray, void_hw: np.ndarray) -> np.ndarray:
    """Pixels of a region with a labelled neighbour outside of it; the image's edge is none."""
    inner = cv2.erode(
        (mask_hw | void_hw).astype(np.uint8),
        np.ones((3, 3), np.uint8),
        borderType=cv2.BORDER_REPLICATE,
    )
    return mask_hw & (inner == 0)


def _share_near(contour: np.ndarray, other: np.ndarray, tolerance_px: float) -> float:
    """Share of a contour's pixels that lie within the tolerance of another contour."""
    if not contour.any() or not other.any():
        return 0.0
    distance = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float((distance[contour] <= tolerance_px).mean())


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    out = np.full(numerator.shape, math.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def _mean(values: np.ndarray) -> float:
    return math.nan if np.isnan(values).all() else float(np.nanmean(values))
