"""Logits to the label of every pixel, in as few passes over memory as OpenCV needs."""

from __future__ import annotations

import cv2
import numpy as np

BUFFER_BYTES_PER_PIXEL = 13  # of what a Classifier keeps: three planes of float32, one of bytes


class Classifier:
    """Brings logits to the size of an image and takes the largest.

    The logits are interpolated, never the ids. Planes are taken one by one through buffers that
    are kept: for four classes at 640x480 that is eight times faster than new arrays and masked
    copies, and faster than the same operations in OpenVINO's graph (``docs/performance.md``).
    What involves a number is numpy's: OpenCV takes it for an array of 4x1 and an image of that
    size for a number.

    Args:
        size_hw: Rows and columns of the image.
        temperature: Divides the logits before the softmax (Guo et al. 2017, eq. 9).
    """

    def __init__(self, size_hw: tuple[int, int], *, temperature: float = 1.0) -> None:
        self._size_hw = size_hw
        self._sharpness = 1 / temperature
        self._plane, self._best = (np.empty(size_hw, np.float32) for _ in range(2))
        self._wins = np.empty(size_hw, np.uint8)
        self._total: np.ndarray | None = None  # not before a confidence is wanted

    def labels(self, logits_chw: np.ndarray) -> np.ndarray:
        """Take the largest logit of every pixel.

        Args:
            logits_chw: (C, h, w) float32 that cover the image exactly.

        Returns:
            (H, W) uint8 channel of the largest logit, the lower one on a tie; a new array.
        """
        return self._labels_and_best(logits_chw)[0]

    def labels_and_confidence(self, logits_chw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As ``labels``, and (H, W) uint8 softmax probability of that channel times 255."""
        labels, best = self._labels_and_best(logits_chw)
        if self._total is None:
            self._total = np.empty(self._size_hw, np.float32)
        # softmax of the largest logit: 1 / sum(exp(logit - largest))
        total = self._total
        total[...] = 0
        for channel in range(len(logits_chw)):
            below = cv2.subtract(self._at_size(logits_chw[channel]), best, dst=self._plane)
            if self._sharpness != 1:
                np.multiply(below, self._sharpness, out=below)
            cv2.add(total, cv2.exp(below, dst=below), dst=total)
        return labels, cv2.convertScaleAbs(np.divide(1.0, total, out=total), alpha=255)

    def not_finite(self, logits_chw: np.ndarray) -> np.ndarray | None:
        """Find the pixels that a logit which is NaN or infinite has a part in.

        Args:
            logits_chw: (C, h, w) float32 that cover the image exactly.

        Returns:
            (H, W) bool; None where there are none, which takes a tenth of a millisecond to see.
        """
        finite = np.isfinite(logits_chw)
        if finite.all():
            return None
        wrong = (~finite.all(axis=0)).astype(np.float32)
        return self._at_size(wrong, np.empty(self._size_hw, np.float32)) > 0

    def _labels_and_best(self, logits_chw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        labels = np.zeros(self._size_hw, np.uint8)
        best = self._at_size(logits_chw[0], self._best)
        for channel in range(1, len(logits_chw)):
            plane = self._at_size(logits_chw[channel])
            # The channel where it wins, else 0; channels rise, so that the last winner is largest.
            wins = cv2.compare(plane, best, cv2.CMP_GT, dst=self._wins)
            cv2.max(labels, np.minimum(wins, channel, out=wins), dst=labels)
            best = cv2.max(best, plane, dst=self._best)
        return labels, best

    def _at_size(self, plane_hw: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        if plane_hw.shape == self._size_hw:
            return plane_hw
        height, width = self._size_hw
        out = self._plane if out is None else out
        return cv2.resize(plane_hw, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)
