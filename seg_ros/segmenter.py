"""An image in, labels out: the facade of the core."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from seg_ros.backends import AUTO, Backend, load_backend
from seg_ros.model_card import CARD_FILE, VOID_ID, ModelCard, load_model_card
from seg_ros.preprocess import Placement, crop_logits, padding, place, to_network
from seg_ros.share import share_roots

if TYPE_CHECKING:
    from seg_ros.image import ColorOrder

MODELS_VARIABLE = 'SEG_ROS_MODELS'


@dataclass(frozen=True)
class Timings:
    """Milliseconds spent on one image."""

    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float

    @property
    def total_ms(self) -> float:
        """From the camera's pixels to labels."""
        return self.preprocess_ms + self.inference_ms + self.postprocess_ms


@dataclass(frozen=True)
class Segmentation:
    """What a net says of one image.

    Attributes:
        labels: (H, W) uint8 class ids at the image's size; 255 = void.
        confidence: (H, W) uint8, the probability of the winning class times 255; None when not
            asked for.
        timings: What it took.
    """

    labels: np.ndarray
    confidence: np.ndarray | None
    timings: Timings


class Segmenter:
    """A model and the engine that runs it. Used by one thread at a time.

    Args:
        card: The verified model card.
        backend: The engine that holds the model.
    """

    def __init__(self, card: ModelCard, backend: Backend) -> None:
        self.card = card
        self.backend = backend
        ids = [entry.id for entry in card.classes]
        # channel -> id, where the card's ids are not simply the channels
        self._id_of_channel: np.ndarray | None = None
        if ids != list(range(len(ids))):
            self._id_of_channel = np.full(256, VOID_ID, np.uint8)
            self._id_of_channel[: len(ids)] = ids
        self._input: np.ndarray | None = None
        self._placement: Placement | None = None

    def segment(
        self,
        image_hwc: np.ndarray,
        order: ColorOrder = 'bgr',
        *,
        with_confidence: bool = True,
        min_confidence: float = 0.0,
    ) -> Segmentation:
        """Segment one image of any size.

        Args:
            image_hwc: (H, W, 3) uint8.
            order: Order of its channels: ``bgr`` as OpenCV reads files, or ``rgb``.
            with_confidence: Whether the confidence is wanted; it costs a softmax per pixel.
            min_confidence: Probability 0..1 below which a pixel becomes 255 = void.

        Returns:
            Labels and confidence at the image's own size.

        Raises:
            ValueError: If the image is not (H, W, 3) uint8 or a value is out of its range.
        """
        if image_hwc.ndim != 3 or image_hwc.shape[2] != 3 or not image_hwc.size:
            raise ValueError(f'image is {image_hwc.shape}; expected (height, width, 3)')
        if order not in ('bgr', 'rgb'):
            raise ValueError(f'unknown order {order!r}; available: bgr, rgb')
        if not 0.0 <= min_confidence <= 1.0:
            raise ValueError(f'min_confidence {min_confidence} is outside 0 to 1')
        start = time.perf_counter()
        placement = self._place(image_hwc.shape[0], image_hwc.shape[1])
        network_hwc = to_network(image_hwc, placement, order, self.card.input.mean, self._input)
        prepared = time.perf_counter()
        logits_chw = self.backend.infer(network_hwc)
        inferred = time.perf_counter()
        labels, confidence = classify(
            crop_logits(logits_chw, placement),
            placement.camera_hw,
            temperature=self.card.temperature,
            with_confidence=with_confidence or min_confidence > 0,
        )
        if self._id_of_channel is not None:
            labels = cv2.LUT(labels, self._id_of_channel)
        if confidence is not None and min_confidence > 0:
            labels[confidence < min_confidence * 255] = VOID_ID
        timings = Timings(
            preprocess_ms=(prepared - start) * 1e3,
            inference_ms=(inferred - prepared) * 1e3,
            postprocess_ms=(time.perf_counter() - inferred) * 1e3,
        )
        return Segmentation(labels, confidence if with_confidence else None, timings)

    def warm_up(self) -> float:
        """Run once on a grey image of the card's input size, as engines allocate on first use.

        Returns:
            Milliseconds that it took.
        """
        spec = self.card.input
        grey = np.full((spec.height_px, spec.width_px, 3), 128, np.uint8)
        return self.segment(grey).timings.total_ms

    def _place(self, height: int, width: int) -> Placement:
        """Placement of an image size; the input buffer is kept while the size stays."""
        if self._placement is None or self._placement.camera_hw != (height, width):
            self._placement = place((height, width), self.card.input)
            self._input = padding(self._placement.network_hw, self.card.input.mean)
        return self._placement


def classify(
    logits_chw: np.ndarray,
    size_hw: tuple[int, int],
    *,
    temperature: float = 1.0,
    with_confidence: bool = True,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Bring logits to the size of an image and take the largest.

    The logits are interpolated, never the ids. Planes are taken one by one: resizing and a running
    maximum in OpenCV are an order of magnitude faster than an argmax over the stack.

    Args:
        logits_chw: (C, h, w) float32.
        size_hw: Rows and columns of the result.
        temperature: Divides the logits before the softmax (Guo et al. 2017, eq. 9).
        with_confidence: Whether the second result is wanted.

    Returns:
        (H, W) uint8 channel of the largest logit, the lower one on a tie, and (H, W) uint8
        probability of it times 255, or None.
    """
    height, width = size_hw
    planes = [
        plane
        if plane.shape == size_hw
        else cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        for plane in np.ascontiguousarray(logits_chw)
    ]
    best = planes[0].copy()
    labels = np.zeros(size_hw, np.uint8)
    for channel, plane in enumerate(planes[1:], start=1):
        np.copyto(labels, channel, where=plane > best)
        cv2.max(best, plane, dst=best)
    if not with_confidence:
        return labels, None
    # softmax of the largest logit: 1 / sum(exp(logit - largest))
    total = np.zeros(size_hw, np.float32)
    for plane in planes:
        total += cv2.exp((plane - best) * np.float32(1 / temperature))
    return labels, cv2.convertScaleAbs(1 / total, alpha=255)


def find_model(name: str | Path) -> Path:
    """Find a model folder.

    Args:
        name: A path, or the name of a folder in (first match) the directories of the environment
            variable ``SEG_ROS_MODELS``, then the ``models/`` that came with the package.

    Raises:
        FileNotFoundError: Naming where was looked and which models there are.
    """
    path = Path(name).expanduser()
    if (path / CARD_FILE).is_file():
        return path
    roots = model_roots()
    for root in roots:
        if (root / path / CARD_FILE).is_file():
            return root / path
    available = sorted(
        {card.parent.name for root in roots for card in root.glob(f'*/{CARD_FILE}')}
    )
    raise FileNotFoundError(
        f'no model {str(name)!r}; available: {", ".join(available) or "none"} '
        f'(looked in {", ".join(map(str, roots))})'
    )


def model_roots() -> list[Path]:
    """Directories that are searched for model folders, in order."""
    listed = os.environ.get(MODELS_VARIABLE, '').split(os.pathsep)
    return [*(Path(entry) for entry in listed if entry), *(r / 'models' for r in share_roots())]


def load(model: str | Path, *, backend: str = AUTO, num_threads: int = 0) -> Segmenter:
    """Load a model by name or path.

    Args:
        model: As ``find_model`` takes it.
        backend: Key of ``seg_ros.backends.BACKENDS`` or ``auto``.
        num_threads: Threads of the engine; 0 leaves the choice to it.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If its card or files are wrong, or the backend is not available.
    """
    card = load_model_card(find_model(model))
    return Segmenter(card, load_backend(backend, card, num_threads=num_threads))
