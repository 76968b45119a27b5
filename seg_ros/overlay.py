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


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray | None]],
    headings: Sequence[str],
    classes: Sequence[ClassInfo],
    *,
    cell_width_px: int = 320,
) -> np.ndarray:
    """Lay pictures out in rows under headings, the legend below.

    Args:
        rows: Per row one (H, W, 3) uint8 RGB picture per heading, or None for an empty cell; all
            of one row have the same size.
        headings: One per column.
        classes: For the legend.
        cell_width_px: Width that pictures are scaled to.

    Returns:
        (rows, columns, 3) uint8 RGB.
    """
    title = np.full((_LEGEND_ROW_PX, cell_width_px * len(headings), 3), 255, np.uint8)
    for column, text in enumerate(headings):
        origin = (column * cell_width_px + 6, 16)
        cv2.putText(title, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    strips = [title]
    for row in rows:
        height, width = next(cell.shape[:2] for cell in row if cell is not None)
        size = (cell_width_px, round(height * cell_width_px / width))
        cells = [
            np.full((size[1], size[0], 3), 128, np.uint8)
            if cell is None
            else cv2.resize(cell, size, interpolation=cv2.INTER_AREA)
            for cell in row
        ]
        strips.append(np.hstack(cells))
    strips.append(legend(classes, title.shape[1]))
    return np.vstack(strips)
