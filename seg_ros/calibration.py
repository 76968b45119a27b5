"""How far a confidence can be believed: reliability, ECE, and the temperature that mends it.

A confidence of 0.8 should be right on 80 % of its pixels. Nets are mostly too sure of themselves;
one number that divides the logits before the softmax, fitted on held-out data, cures most of it
and changes no label (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from seg_ros.model_card import VOID_ID
from seg_ros.preprocess import crop_logits, place, to_network

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seg_ros.datasets.sample import Sample
    from seg_ros.segmenter import Segmenter

RELIABILITY_BINS = 15  # as Guo et al. take it
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
_LEVELS = 256  # confidences are uint8
_MAX_STEPS = 100
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class ReliabilityBin:
    """Pixels of similar confidence.

    Attributes:
        low: Lower edge, 0..1.
        high: Upper edge, 0..1.
        confidence: Mean confidence of the pixels, 0..1; NaN without pixels.
        accuracy: Share of them that is right; NaN without pixels.
        pixels: How many they are.
    """

    low: float
    high: float
    confidence: float
    accuracy: float
    pixels: int


class ConfidenceHistogram:
    """Counts right and wrong pixels by confidence; exact for uint8 confidences.

    Attributes:
        counts: (256, 2) int64: per confidence value the wrong and the right pixels.
    """

    def __init__(self) -> None:
        self.counts = np.zeros((_LEVELS, 2), np.int64)

    def add(
        self, confidence_hw: np.ndarray, truth_hw: np.ndarray, prediction_hw: np.ndarray
    ) -> None:
        """Count one image; pixels that are void in truth or prediction are left out.

        Args:
            confidence_hw: (H, W) uint8, probability times 255.
            truth_hw: (H, W) uint8 ids, 255 = void.
            prediction_hw: (H, W) uint8 ids, 255 = void.
        """
        counted = (truth_hw != VOID_ID) & (prediction_hw != VOID_ID)
        index = confidence_hw[counted].astype(np.intp) * 2
        index += truth_hw[counted] == prediction_hw[counted]
        self.counts += np.bincount(index, minlength=2 * _LEVELS).reshape(_LEVELS, 2)

    @property
    def pixels(self) -> int:
        """Number of counted pixels."""
        return int(self.counts.sum())

    def bins(self, num_bins: int = RELIABILITY_BINS) -> list[ReliabilityBin]:
        """Sum up in bins of equal width; an edge belongs to the bin below it."""
        values = np.arange(_LEVELS) / (_LEVELS - 1)
        bin_of = np.clip(np.ceil(values * num_bins).astype(int) - 1, 0, num_bins - 1)
        result = []
        for index in range(num_bins):
            wrong, right = self.counts[bin_of == index].sum(axis=0)
            total = int(wrong + right)
            weights = self.counts[bin_of == index].sum(axis=1)
            mean = float(weights @ values[bin_of == index]) / total if total else math.nan
            accuracy = float(right) / total if total else math.nan
            edges = (index / num_bins, (index + 1) / num_bins)
            result.append(ReliabilityBin(*edges, mean, accuracy, total))
        return result

    def expected_calibration_error(self, num_bins: int = RELIABILITY_BINS) -> float:
        """Mean distance of confidence and accuracy, weighted by pixels (Guo et al., eq. 3).

        Returns:
            0 for a confidence that can be taken at its word, up to 1; NaN without pixels.
        """
        if not self.pixels:
            return math.nan
        distance = sum(
            entry.pixels * abs(entry.confidence - entry.accuracy)
            for entry in self.bins(num_bins)
            if entry.pixels
        )
        return distance / self.pixels


def sample_logits(
    logits_chw: np.ndarray, truth_hw: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw labelled pixels of one image for ``fit_temperature``.

    The logits are interpolated to the size of the truth, as the segmenter does it.

    Args:
        logits_chw: (C, h, w) float32 that cover the image exactly (``preprocess.crop_logits``).
        truth_hw: (H, W) uint8 channel of the true class, 255 = void.
        count: Pixels to draw, fewer where fewer are labelled; without repetition.
        rng: Source of the choice.

    Returns:
        (N, C) float64 logits and (N,) channels of the true classes.
    """
    height, width = truth_hw.shape
    labelled = np.flatnonzero(truth_hw != VOID_ID)
    chosen = rng.choice(labelled, size=min(count, labelled.size), replace=False)
    planes = [
        cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR).ravel()[chosen]
        for plane in np.ascontiguousarray(logits_chw)
    ]
    return np.stack(planes, axis=1).astype(np.float64), truth_hw.ravel()[chosen].astype(np.intp)


def calibrated_temperature(
    segmenter: Segmenter,
    samples: Iterable[Sample],
    *,
    pixels_per_image: int = 2000,
    seed: int = 0,
) -> float:
    """Fit the temperature of an exported model; the same input gives the same number.

    Set it on the card: ``save_model_card(replace(card, temperature=...), folder)``.

    Args:
        segmenter: The model; the temperature it has now plays no part.
        samples: Images that it was not trained on, labelled with the ids of its card.
        pixels_per_image: Drawn from each image: neighbours say the same, so a few thousand do.
        seed: Of the choice of pixels.

    Raises:
        ValueError: If no pixel is labelled.
    """
    rng = np.random.default_rng(seed)
    channel_of = np.full(256, VOID_ID, np.uint8)
    for channel, entry in enumerate(segmenter.card.classes):
        channel_of[entry.id] = channel
    drawn = []
    for sample in samples:
        height, width = sample.image.shape[:2]
        spec = segmenter.card.input
        placement = place((height, width), spec)
        logits = segmenter.backend.infer(to_network(sample.image, placement, 'rgb', spec.mean))
        truth = cv2.LUT(sample.labels, channel_of)
        drawn.append(sample_logits(crop_logits(logits, placement), truth, pixels_per_image, rng))
    return fit_temperature(drawn)


def fit_temperature(samples: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Find the temperature with the smallest negative log likelihood on held-out pixels.

    The loss is convex in ``beta = 1 / temperature``; its slope is ``E[E_p[z] - z_true]`` and its
    curvature ``E[Var_p[z]]``, so Newton's method inside a shrinking bracket always gets there.
    Set it on the model card as ``temperature`` (``dataclasses.replace(card, temperature=...)``).

    Args:
        samples: Pairs from ``sample_logits``, of images that were not trained on.

    Returns:
        Between 0.05 and 20; 1 where the logits were right as they are.

    Raises:
        ValueError: If there is no pixel, or a logit is not finite.
    """
    pairs = list(samples)
    if not pairs or not sum(len(truth) for _, truth in pairs):
        raise ValueError('no labelled pixel to fit the temperature on')
    logits = np.concatenate([logits for logits, _ in pairs])
    truth = np.concatenate([truth for _, truth in pairs])
    if not np.isfinite(logits).all():
        raise ValueError('logits hold NaN or infinity; the net is broken')
    low, high = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
    beta = 1.0
    for _ in range(_MAX_STEPS):
        slope, curvature = _derivatives(logits, truth, beta)
        if slope > 0:
            high = beta
        else:
            low = beta
        step = beta - slope / curvature if curvature > 0 else math.nan
        following = step if low < step < high else (low + high) / 2
        if abs(following - beta) < _TOLERANCE * beta:
            return float(1 / following)
        beta = following
    return float(1 / beta)


def _derivatives(logits: np.ndarray, truth: np.ndarray, beta: float) -> tuple[float, float]:
    """Slope and curvature of the mean negative log likelihood at ``beta``."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    weights = np.exp(beta * shifted)
    weights /= weights.sum(axis=1, keepdims=True)
    mean = (weights * shifted).sum(axis=1)
    variance = (weights * shifted**2).sum(axis=1) - mean**2
    slope = (mean - shifted[np.arange(len(truth)), truth]).mean()
    return float(slope), float(variance.mean())
