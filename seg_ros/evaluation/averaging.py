"""Evaluation with more arithmetic than a robot has time for: mirrored images, windows.

Both stand in the place of an engine, so that everything around it stays as it is. The logits of
several runs are averaged.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from seg_ros.backends import Backend
from seg_ros.model_card import InputSpec
from seg_ros.segmenter import Segmenter


class _Around:
    """An engine around another one, one image at a time."""

    max_batch = 1

    def __init__(self, inner: Backend, addition: str) -> None:
        self._inner = inner
        self.name, self.reason = f'{inner.name} + {addition}', inner.reason
        self.device, self.precision = inner.device, inner.precision

    @staticmethod
    def devices() -> tuple[str, ...]:
        """See ``Backend``; none of its own."""
        return ()

    def infer(self, image_hwc: np.ndarray) -> np.ndarray:
        """See ``Backend``."""
        raise NotImplementedError

    def infer_batch(self, images_nhwc: np.ndarray) -> np.ndarray:
        """See ``Backend``."""
        return np.stack([self.infer(image).copy() for image in images_nhwc])


class Mirrored(_Around):
    """Mean of the logits of an image and of its mirror image."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner, 'mirror image')

    def infer(self, image_hwc: np.ndarray) -> np.ndarray:
        """See ``Backend``."""
        straight = self._inner.infer(image_hwc).copy()
        mirrored = self._inner.infer(np.ascontiguousarray(image_hwc[:, ::-1]))
        return (straight + mirrored[:, :, ::-1]) / 2


class Windows(_Around):
    """Mean of the logits of overlapping windows over an image that is larger than the input.

    Args:
        inner: The engine.
        window: Its input.
        size_hw: Rows and columns of the image, multiples of the stride, at least the window's.
        overlap: Share of a window that the next one covers, too.
    """

    def __init__(
        self, inner: Backend, window: InputSpec, size_hw: tuple[int, int], overlap: float = 0.5
    ) -> None:
        rows, columns = size_hw
        super().__init__(inner, f'windows over {rows}x{columns}')
        self._window_hw, self._stride = (window.height_px, window.width_px), window.logits_stride
        self._size_hw = size_hw
        self._starts = [
            _starts(whole, part, max(1, round(part * (1 - overlap) / self._stride)) * self._stride)
            for whole, part in zip(size_hw, self._window_hw, strict=True)
        ]

    def infer(self, image_hwc: np.ndarray) -> np.ndarray:
        """See ``Backend``."""
        rows, columns = (pixels // self._stride for pixels in self._window_hw)
        size = [pixels // self._stride for pixels in self._size_hw]
        total, count = np.zeros((1, *size), np.float32), np.zeros(size, np.float32)
        for top in self._starts[0]:
            for left in self._starts[1]:
                window = image_hwc[
                    top : top + self._window_hw[0], left : left + self._window_hw[1]
                ]
                logits = self._inner.infer(np.ascontiguousarray(window))
                if len(total) != len(logits):
                    total = np.zeros((len(logits), *size), np.float32)
                y, x = top // self._stride, left // self._stride
                total[:, y : y + rows, x : x + columns] += logits
                count[y : y + rows, x : x + columns] += 1
        mean: np.ndarray = total / count
        return mean


def with_windows(segmenter: Segmenter, size_hw: tuple[int, int]) -> Segmenter:
    """The same model over images of another size, window by window.

    Raises:
        ValueError: If the size is smaller than the input of the model.
    """
    spec = segmenter.card.input
    stride = spec.logits_stride
    rows, columns = (-(-pixels // stride) * stride for pixels in size_hw)
    if rows < spec.height_px or columns < spec.width_px:
        raise ValueError(
            f'windows over {rows}x{columns} are too small: the model takes {spec.height_px}x'
            f'{spec.width_px} (rows x columns); give at least that'
        )
    card = replace(segmenter.card, input=replace(spec, height_px=rows, width_px=columns))
    return Segmenter(card, Windows(segmenter.backend, spec, (rows, columns)))


def with_mirror(segmenter: Segmenter) -> Segmenter:
    """The same model with every image and its mirror image."""
    return Segmenter(segmenter.card, Mirrored(segmenter.backend))


def _starts(whole: int, part: int, step: int) -> list[int]:
    """Where windows begin: every ``step``, the last one at the end."""
    return [*range(0, whole - part, step), whole - part]
