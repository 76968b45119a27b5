"""Small pictures of the frames worth looking at, chosen while a run goes on, in bounded memory."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from seg_ros.overlay import colorize, palette

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seg_ros.model_card import ClassInfo

Kind = Literal['best', 'median', 'worst']

EXAMPLES_PER_KIND = 2
_CANDIDATES = 48  # pictures held for the choice of the median
_WIDTH_PX = 360
_JPEG_QUALITY = 80
WRONG, RIGHT_SHADE = (230, 30, 30), 0.45


@dataclass(frozen=True)
class Example:
    """A frame and its pictures.

    Attributes:
        name: Of the frame.
        value: What it was chosen by.
        pictures: Heading -> encoded file (JPEG or PNG).
    """

    name: str
    value: float
    pictures: dict[str, bytes]


class Examples:
    """Keeps the frames with the highest, the lowest and about the median value.

    The median is known only at the end, so every n-th frame is kept as a candidate, n doubling
    whenever there are too many; the one nearest to the median of all values is taken.
    """

    def __init__(self) -> None:
        self._values: list[float] = []
        self._best: list[tuple[float, int, Example]] = []  # heaps, the one to replace on top
        self._worst: list[tuple[float, int, Example]] = []
        self._candidates: list[tuple[int, Example]] = []
        self._every = 1

    def wants(self, value: float) -> bool:
        """Whether a frame of this value would be kept now: pictures cost time."""
        return not math.isnan(value) and (
            len(self._values) % self._every == 0
            or len(self._best) < EXAMPLES_PER_KIND
            or value > self._best[0][0]
            or -value > self._worst[0][0]
        )

    def add(self, value: float, example: Example | None) -> None:
        """Take the next frame; ``example`` may be None where ``wants`` says no."""
        if math.isnan(value):
            return
        index = len(self._values)
        self._values.append(value)
        if example is None:
            return
        for heap, rank in ((self._best, value), (self._worst, -value)):
            # Of equal values the earlier one stays.
            entry = (rank, -index, example)
            if len(heap) < EXAMPLES_PER_KIND:
                heapq.heappush(heap, entry)
            else:
                heapq.heappushpop(heap, entry)
        if index % self._every == 0:
            self._candidates.append((index, example))
            if len(self._candidates) > _CANDIDATES:
                self._every *= 2
                self._candidates = [c for c in self._candidates if c[0] % self._every == 0]

    def chosen(self) -> dict[Kind, list[Example]]:
        """The frames by kind; one shows up under one kind only."""
        best = [entry[2] for entry in sorted(self._best, key=lambda e: (-e[0], -e[1]))]
        names = {example.name for example in best}
        worst = [entry[2] for entry in sorted(self._worst, key=lambda e: (-e[0], -e[1]))]
        worst = [example for example in worst if example.name not in names]
        names |= {example.name for example in worst}
        rest = [c for c in self._candidates if c[1].name not in names]
        middle = float(np.median(self._values)) if self._values else math.nan
        rest.sort(key=lambda c: (abs(c[1].value - middle), c[0]))
        return {
            'best': best,
            'median': [example for _, example in rest[:EXAMPLES_PER_KIND]],
            'worst': worst,
        }


def example(
    name: str,
    value: float,
    image_rgb: np.ndarray | None,
    truth_hw: np.ndarray | None,
    predictions: Sequence[tuple[str, np.ndarray]],
    classes: Sequence[ClassInfo],
) -> Example:
    """Draw a frame: image, truth, predictions, and where they are wrong or differ.

    Args:
        name: Of the frame.
        value: What it is chosen by.
        image_rgb: (H, W, 3) uint8, where there is one.
        truth_hw: (H, W) uint8 ids, where there are any; other ids than the classes' show as void.
        predictions: Heading and (H, W) uint8 ids; with two, their difference is shown.
        classes: For the colours.
    """
    colors = palette(classes)
    pictures: dict[str, bytes] = {}
    if image_rgb is not None:
        pictures['image'] = _jpeg(_reduced(image_rgb))
    if truth_hw is not None:
        pictures['truth'] = _png(colorize(_reduced(truth_hw), colors))
    for heading, labels_hw in predictions:
        pictures[heading] = _png(colorize(_reduced(labels_hw), colors))
    shapes = {labels_hw.shape for _, labels_hw in predictions}
    if len(predictions) > 1 and len(shapes) == 1:
        first, second = predictions[0][1], predictions[1][1]
        pictures['difference'] = _jpeg(_reduced(_marked(image_rgb, first != second)))
    elif truth_hw is not None:
        known = np.isin(truth_hw, [entry.id for entry in classes])
        wrong = (predictions[0][1] != truth_hw) & known
        pictures['error'] = _jpeg(_reduced(_marked(image_rgb, wrong, ~known)))
    return Example(name, value, pictures)


def _marked(
    image_rgb: np.ndarray | None, wrong_hw: np.ndarray, void_hw: np.ndarray | None = None
) -> np.ndarray:
    """The image in dark grey, wrong pixels in red, void ones black."""
    if image_rgb is not None and image_rgb.shape[:2] == wrong_hw.shape:
        grey = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)
        picture = cv2.cvtColor(cv2.convertScaleAbs(grey, alpha=RIGHT_SHADE), cv2.COLOR_GRAY2RGB)
    else:
        picture = np.full((*wrong_hw.shape, 3), 60, np.uint8)
    picture[wrong_hw] = WRONG
    if void_hw is not None:
        picture[void_hw] = 0
    return picture


def _reduced(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    if width <= _WIDTH_PX:
        return picture
    size = (_WIDTH_PX, max(1, round(height * _WIDTH_PX / width)))
    # Ids are never interpolated; photographs are averaged.
    method = cv2.INTER_NEAREST if picture.ndim == 2 else cv2.INTER_AREA
    return cv2.resize(picture, size, interpolation=method)


def _jpeg(picture_rgb: np.ndarray) -> bytes:
    bgr = cv2.cvtColor(picture_rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode('.jpg', bgr, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))[1].tobytes()


def _png(picture_rgb: np.ndarray) -> bytes:
    return cv2.imencode('.png', cv2.cvtColor(picture_rgb, cv2.COLOR_RGB2BGR))[1].tobytes()
