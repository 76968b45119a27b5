"""Labels as pictures: palette image, overlay and legend. All colours are RGB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from seg_ros.model_card import VOID_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seg_ros.model_card import ClassInfo

_LEGEND_ROW_PX = 22


def palette(classes: Sequence[ClassInfo]) -> np.ndarray:
    """Colour of every label value: (256, 3) uint8 RGB; void and unknown ids are black."""
    table = np.zeros((256, 3), np.uint8)
    for entry in classes:
        table[entry.id] = entry.color
    return table


def colorize(labels_hw: np.ndarray, palette_rgb: np.ndarray) -> np.ndarray:
    """Paint labels: (H, W) uint8 ids to (H, W, 3) uint8 RGB."""
    return cv2.applyColorMap(labels_hw, palette_rgb[:, np.newaxis])  # a lookup; order is kept


def blend(
    image_rgb: np.ndarray, labels_hw: np.ndarray, palette_rgb: np.ndarray, alpha: float
) -> np.ndarray:
    """Lay the colours of the labels over the image.

    Args:
        image_rgb: (H, W, 3) uint8.
        labels_hw: (H, W) uint8 ids; where they are 255 the image stays as it is.
        palette_rgb: From ``palette``.
        alpha: Share of the colour, 0..1.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    mixed = cv2.addWeighted(image_rgb, 1 - alpha, colorize(labels_hw, palette_rgb), alpha, 0)
    if (void := labels_hw == VOID_ID).any():
        mixed[void] = image_rgb[void]
    return mixed


def legend(classes: Sequence[ClassInfo], width_px: int) -> np.ndarray:
    """Draw names beside their colours: (rows, ``width_px``, 3) uint8 RGB on white."""
    rows = max(1, len(classes)) * _LEGEND_ROW_PX
    picture = np.full((rows, width_px, 3), 255, np.uint8)
    for row, entry in enumerate(classes):
        top = row * _LEGEND_ROW_PX
        cv2.rectangle(picture, (4, top + 3), (24, top + 18), entry.color, -1)
        cv2.rectangle(picture, (4, top + 3), (24, top + 18), (0, 0, 0), 1)
        origin = (32, top + 16)
        cv2.putText(
            picture, entry.name, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA
        )
    return picture
