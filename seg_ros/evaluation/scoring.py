"""The one place where frames become scores: for datasets, bags, the live node and the demo."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

import cv2
import numpy as np

from seg_ros.calibration import ConfidenceHistogram
from seg_ros.evaluation.skips import Skips
from seg_ros.metrics import Scores, boundary_f1, confusion_matrix, scores_from_confusion
from seg_ros.model_card import VOID_ID

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from seg_ros.model_card import ClassInfo


class Scoring:
    """Adds up frame by frame; memory grows by a few dozen bytes per frame.

    Args:
        classes: What the ids of truth and prediction mean.
        void_ids: Ids of the truth that are void beside 255.
        with_boundary: Whether to compute the boundary F1, the most expensive score.

    Attributes:
        names: Name of each frame.
        times_s: When each frame was taken, seconds since the first; NaN where unknown.
        latencies_ms: What each frame took; NaN where unknown.
        mious: Mean IoU of each frame over the classes it has; NaN without truth.
        accuracies: Share of right pixels of each frame; NaN without truth.
        confidences: Mean confidence of each frame, 0..1; NaN without one.
        skips: What was wrong with frames or truths.
        matrix: (C, C + 1) int64 confusion matrix, see ``metrics.confusion_matrix``.
        calibration: Right and wrong pixels by confidence.
        dropped_s: Times of frames that went in and never came out.

    Raises:
        ValueError: If a void id is the id of a class.
    """

    def __init__(
        self,
        classes: Sequence[ClassInfo],
        *,
        void_ids: Iterable[int] = (),
        with_boundary: bool = True,
    ) -> None:
        self.classes = tuple(classes)
        self.with_boundary = with_boundary
        # id -> channel, and which ids are known at all
        self._channels, self._known = _channel_table(self.classes, ())
        self._truth_channels, self._truth_known = _channel_table(self.classes, tuple(void_ids))
        count = len(self.classes)
        self.names: list[str] = []
        self.times_s, self.latencies_ms = array('d'), array('d')
        self.mious, self.accuracies = array('d'), array('d')
        self.confidences = array('f')
        self._shares = array('f')
        self.skips = Skips()
        self.matrix = np.zeros((count, count + 1), np.int64)
        self.calibration = ConfidenceHistogram()
        self._boundary_sum, self._boundary_frames = np.zeros(count), np.zeros(count, np.int64)
        self.scored = 0
        self.dropped_s: list[float] = []

    @property
    def frames(self) -> int:
        """Number of frames that were segmented."""
        return len(self.names)

    @property
    def scores(self) -> Scores:
        """Scores of all frames together, from the sum of their confusion matrices."""
        return scores_from_confusion(self.matrix)

    @property
    def boundary(self) -> np.ndarray:
        """(C,) boundary F1, the mean over the frames where a class has a contour; else NaN."""
        frames = self._boundary_frames
        return np.where(frames > 0, self._boundary_sum / np.maximum(frames, 1), math.nan)

    @property
    def shares(self) -> np.ndarray:
        """(frames, C + 1) float32 share of each class in each prediction, the last one void."""
        return np.asarray(self._shares, np.float32).reshape(-1, len(self.classes) + 1)

    def truth_problem(self, truth_hw: np.ndarray, labels_hw: np.ndarray) -> tuple[str, str] | None:
        """Say why a truth cannot be used for a prediction: reason and details; None if it can."""
        if truth_hw.shape != labels_hw.shape:
            rows, columns = truth_hw.shape
            height, width = labels_hw.shape
            return 'truth of another size', f'{columns}x{rows} for an image of {width}x{height}'
        if unknown := _unknown_ids(truth_hw, self._truth_known):
            listed = ', '.join(map(str, unknown))
            return (
                'truth with ids outside the classes (those that mean void: --void-ids, void_ids)',
                f'id {listed}',
            )
        return None

    def add(
        self,
        name: str,
        labels_hw: np.ndarray,
        *,
        truth_hw: np.ndarray | None = None,
        confidence_hw: np.ndarray | None = None,
        latency_ms: float = math.nan,
        time_s: float = math.nan,
    ) -> float:
        """Take one frame. A truth that cannot be used is skipped, counted and listed.

        Args:
            name: Unique name of the frame.
            labels_hw: (H, W) uint8 ids that were predicted, 255 = void.
            truth_hw: (H, W) uint8 true ids, 255 = void.
            confidence_hw: (H, W) uint8, probability times 255.
            latency_ms: What it took.
            time_s: When it was taken.

        Returns:
            The frame's mean IoU, NaN without a usable truth.
        """
        if unknown := _unknown_ids(labels_hw, self._known):
            self.skips.add('prediction with ids outside the classes', f'{name}: {unknown}')
            return math.nan
        prediction = cv2.LUT(labels_hw, self._channels)
        if confidence_hw is not None and confidence_hw.shape != labels_hw.shape:
            self.skips.add('confidence of another size than the labels', name)
            confidence_hw = None
        if truth_hw is not None and (problem := self.truth_problem(truth_hw, labels_hw)):
            self.skips.add(problem[0], f'{name}: {problem[1]}')
            truth_hw = None
        miou = accuracy = math.nan
        if truth_hw is not None:
            miou, accuracy = self._score(
                cv2.LUT(truth_hw, self._truth_channels), prediction, confidence_hw
            )
        self.names.append(name)
        self.times_s.append(time_s)
        self.latencies_ms.append(latency_ms)
        self.mious.append(miou)
        self.accuracies.append(accuracy)
        mean = math.nan if confidence_hw is None else float(confidence_hw.mean()) / 255
        self.confidences.append(mean)
        counts = np.bincount(prediction.ravel(), minlength=256)
        num_classes = len(self.classes)
        shares = np.append(counts[:num_classes], counts[VOID_ID]) / prediction.size
        self._shares.extend(shares.tolist())
        return miou

    def _score(
        self, truth: np.ndarray, prediction: np.ndarray, confidence: np.ndarray | None
    ) -> tuple[float, float]:
        num_classes = len(self.classes)
        matrix = confusion_matrix(truth, prediction, num_classes)
        self.matrix += matrix
        self.scored += 1
        if confidence is not None:
            self.calibration.add(confidence, truth, prediction)
        if self.with_boundary:
            boundary = boundary_f1(truth, prediction, num_classes)
            found = ~np.isnan(boundary)
            self._boundary_sum[found] += boundary[found]
            self._boundary_frames += found
        frame = scores_from_confusion(matrix)
        return frame.mean_iou, frame.pixel_accuracy

    def demand_scores(self) -> None:
        """Refuse to go on where truth was given and none of it could be used.

        Raises:
            ValueError: With what was wrong.
        """
        if not self.scored:
            reasons = '; '.join(self.skips.lines()) or 'no truth came'
            raise ValueError(f'none of {self.frames} frames could be scored: {reasons}')


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """p50, p95 and p99 of the values that are numbers; empty without one."""
    numbers = np.array([value for value in values if not math.isnan(value)])
    if not numbers.size:
        return {}
    return {f'p{p}': float(np.percentile(numbers, p)) for p in (50, 95, 99)}


def _channel_table(
    classes: tuple[ClassInfo, ...], void_ids: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """(256,) uint8 id -> position among the classes, 255 for void; (256,) bool known ids."""
    ids = [entry.id for entry in classes]
    if wrong := sorted(set(void_ids) & set(ids)):
        raise ValueError(f'void ids {wrong} are classes; choose others')
    if wrong := [value for value in void_ids if not 0 <= value <= VOID_ID]:
        raise ValueError(f'void ids {wrong} are outside 0..255')
    table = np.full(256, VOID_ID, np.uint8)
    table[ids] = range(len(ids))
    known = np.zeros(256, np.bool_)
    known[[*ids, *void_ids, VOID_ID]] = True
    return table, known


def _unknown_ids(ids_hw: np.ndarray, known: np.ndarray) -> list[int]:
    present = np.bincount(ids_hw.ravel(), minlength=256) > 0
    return [int(value) for value in np.flatnonzero(present & ~known)]
