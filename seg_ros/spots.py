"""Connected spots of one class in a label image."""

from __future__ import annotations

import cv2
import numpy as np


def connected_spots(labels_hw: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Number the spots of a class; pixels touch by side or corner.

    The class is picked out by NumPy: ``cv2.compare`` takes the pixel of a 1x1 image for a scalar
    and refuses it.

    Args:
        labels_hw: (H, W) uint8 class ids, of any size from 1x1.
        label: Id of the class.

    Returns:
        (H, W) int32 number of the spot, 0 = not of this class, and (N, 5) int32 left, top, width,
        height and area of each number in pixels, as ``cv2.CC_STAT_*`` index them.
    """
    mask = (labels_hw == label).view(np.uint8)
    _, spots, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return spots, stats
