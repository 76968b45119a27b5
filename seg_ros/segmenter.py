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
from seg_ros.classify import BUFFER_BYTES_PER_PIXEL, Classifier
from seg_ros.model_card import CARD_FILE, VOID_ID, ModelCard, read_model_card
from seg_ros.preprocess import Placement, crop_logits, padding, place, to_network
from seg_ros.share import share_roots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seg_ros.image import ColorOrder

MODELS_VARIABLE = 'SEG_ROS_MODELS'
_MAX_SIZES = 4  # image sizes whose buffers are kept
_MAX_KEPT_BYTES = 1 << 29  # of all of them: four cameras of 4K, or one of 8K


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
        invalid_px: Pixels that are void with confidence 0 because the net gave NaN or infinity.
    """

    labels: np.ndarray
    confidence: np.ndarray | None
    timings: Timings
    invalid_px: int = 0


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
        self._sizes: dict[tuple[int, int], _Size] = {}

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
        (result,) = self.segment_batch(
            [image_hwc], [order], with_confidence=with_confidence, min_confidence=min_confidence
        )
        return result

    def segment_batch(
        self,
        images_hwc: Sequence[np.ndarray],
        orders: Sequence[ColorOrder],
        *,
        with_confidence: bool = True,
        min_confidence: float = 0.0,
    ) -> list[Segmentation]:
        """Segment several images, of several cameras say, each of any size.

        Up to the engine's ``max_batch`` run in one go. Timings give each image its share.

        Args:
            images_hwc: (H, W, 3) uint8 each.
            orders: Order of the channels of each image.
            with_confidence: As ``segment`` takes it.
            min_confidence: As ``segment`` takes it.

        Returns:
            One result per image.

        Raises:
            ValueError: If one of the images or a value is wrong; none is segmented then.
        """
        if not 0.0 <= min_confidence <= 1.0:
            raise ValueError(f'min_confidence {min_confidence} is outside 0 to 1')
        for image_hwc, order in zip(images_hwc, orders, strict=True):
            _check_image(image_hwc, order)
        results: list[Segmentation] = []
        while len(results) < len(images_hwc):
            chosen = slice(len(results), len(results) + self.backend.max_batch)
            results += self._segment_together(
                images_hwc[chosen], orders[chosen], with_confidence, min_confidence
            )
        return results

    def _segment_together(
        self,
        images_hwc: Sequence[np.ndarray],
        orders: Sequence[ColorOrder],
        with_confidence: bool,
        min_confidence: float,
    ) -> list[Segmentation]:
        """Segment one image, or as many as the engine takes at once."""
        count = len(images_hwc)
        start = time.perf_counter()
        sizes, network_nhwc = self._prepare(images_hwc, orders)
        prepared = time.perf_counter()
        if count == 1:
            logits_nchw = self.backend.infer(network_nhwc[0])[np.newaxis]
        else:
            logits_nchw = self.backend.infer_batch(network_nhwc)
        inferred = time.perf_counter()
        if logits_nchw.shape[1] != self.card.num_classes:
            raise ValueError(
                f'the graph of {self.card.name} gives {logits_nchw.shape[1]} classes, its card '
                f'lists {self.card.num_classes}'
            )
        results = []
        for logits_chw, size in zip(logits_nchw, sizes, strict=True):
            begun = time.perf_counter()
            labels, confidence, invalid_px = self._decide(
                logits_chw, size, with_confidence, min_confidence
            )
            timings = Timings(
                preprocess_ms=(prepared - start) * 1e3 / count,
                inference_ms=(inferred - prepared) * 1e3 / count,
                postprocess_ms=(time.perf_counter() - begun) * 1e3,
            )
            results.append(Segmentation(labels, confidence, timings, invalid_px))
        return results

    def warm_up(self) -> float:
        """Run once on an image of the card's input size, as engines allocate on first use.

        The image holds every grey from black to white, so that a graph which divides by the image
        or takes its logarithm shows it.

        Returns:
            Milliseconds that it took.

        Raises:
            ValueError: If the net gives NaN or infinity.
        """
        spec = self.card.input
        greys = np.linspace(0, 255, spec.width_px).astype(np.uint8)
        image_hwc = np.ascontiguousarray(
            np.broadcast_to(greys[np.newaxis, :, np.newaxis], (spec.height_px, spec.width_px, 3))
        )
        result = self.segment(image_hwc)
        if result.invalid_px:
            raise ValueError(
                f'the graph of {self.card.name} gives NaN or infinity for {result.invalid_px} of '
                f'{result.labels.size} pixels of a grey image; train or export it anew'
            )
        return result.timings.total_ms

    def _prepare(
        self, images_hwc: Sequence[np.ndarray], orders: Sequence[ColorOrder]
    ) -> tuple[list[_Size], np.ndarray]:
        """What is kept for the sizes, and (N, h, w, 3) uint8 RGB as the engine takes them."""
        sizes, network_hwc = [], []
        mean = self.card.input.mean
        for image_hwc, order in zip(images_hwc, orders, strict=True):
            size = self._size(image_hwc.shape[:2])
            prepared = to_network(image_hwc, size.placement, order, mean, size.input)
            # The next image may be of the same size.
            is_kept = len(images_hwc) > 1 and prepared is size.input
            network_hwc.append(prepared.copy() if is_kept else prepared)
            sizes.append(size)
        return sizes, network_hwc[0][np.newaxis] if len(sizes) == 1 else np.stack(network_hwc)

    def _size(self, camera_hw: tuple[int, int]) -> _Size:
        """Placement and buffers of an image size, kept for the sizes seen last."""
        size = self._sizes.pop(camera_hw, None)
        if size is None:
            allowed = _MAX_KEPT_BYTES - _buffer_bytes(camera_hw)
            while self._sizes and (
                len(self._sizes) >= _MAX_SIZES or sum(map(_buffer_bytes, self._sizes)) > allowed
            ):
                del self._sizes[next(iter(self._sizes))]
            placement = place(camera_hw, self.card.input)
            size = _Size(
                placement,
                padding(placement.network_hw, self.card.input.mean),
                Classifier(camera_hw, temperature=self.card.temperature),
            )
        if _buffer_bytes(camera_hw) <= _MAX_KEPT_BYTES:
            self._sizes[camera_hw] = size  # at the end: those at the start go first
        return size

    def _decide(
        self, logits_chw: np.ndarray, size: _Size, with_confidence: bool, min_confidence: float
    ) -> tuple[np.ndarray, np.ndarray | None, int]:
        """Labels with the card's ids and void, the confidence if it is wanted, invalid pixels."""
        logits_chw = crop_logits(logits_chw, size.placement)
        invalid = size.classifier.not_finite(logits_chw)
        if invalid is not None:
            logits_chw = np.where(np.isfinite(logits_chw), logits_chw, np.float32(0))
        confidence = None
        if with_confidence or min_confidence > 0:
            labels, confidence = size.classifier.labels_and_confidence(logits_chw)
        else:
            labels = size.classifier.labels(logits_chw)
        if self._id_of_channel is not None:
            labels = cv2.LUT(labels, self._id_of_channel)
        if confidence is not None and min_confidence > 0:
            # Void is all bits: 255 = -1. OpenCV cannot compare an image of 1x1 with a number.
            labels |= np.negative((confidence < min_confidence * 255).view(np.uint8))
        if invalid is not None:
            labels[invalid] = VOID_ID
            if confidence is not None:
                confidence[invalid] = 0
        invalid_px = 0 if invalid is None else int(np.count_nonzero(invalid))
        return labels, confidence if with_confidence else None, invalid_px


@dataclass(frozen=True)
class _Size:
    """What is kept for images of one size."""

    placement: Placement
    input: np.ndarray
    classifier: Classifier


def _buffer_bytes(camera_hw: tuple[int, int]) -> int:
    return camera_hw[0] * camera_hw[1] * BUFFER_BYTES_PER_PIXEL


def _check_image(image_hwc: np.ndarray, order: str) -> None:
    if image_hwc.ndim != 3 or image_hwc.shape[2] != 3 or not image_hwc.size:
        raise ValueError(f'image is {image_hwc.shape}; expected (height, width, 3)')
    if image_hwc.dtype != np.uint8:
        raise ValueError(f'image is {image_hwc.dtype}; expected uint8')
    if order not in ('bgr', 'rgb'):
        raise ValueError(f'unknown order {order!r}; available: bgr, rgb')


def find_model(name: str | Path) -> Path:
    """Find a model folder.

    Args:
        name: A path, or the name of a folder in (first match) the directories of the environment
            variable ``SEG_ROS_MODELS``, the ``models/`` that came with the package, and the
            ``models/`` of the current directory, where training writes.

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
    shipped = (root / 'models' for root in share_roots())
    own = Path('models').absolute()  # last: a shipped name means the shipped model everywhere
    return list(dict.fromkeys([*(Path(entry) for entry in listed if entry), *shipped, own]))


def load(
    model: str | Path,
    *,
    backend: str = AUTO,
    precision: str = AUTO,
    num_threads: int = 0,
    device: str = AUTO,
    max_batch: int = 1,
) -> Segmenter:
    """Load a model by name or path, and run it once: what it gives must be what its card says.

    Args:
        model: As ``find_model`` takes it.
        backend: Key of ``seg_ros.backends.BACKENDS`` or ``auto``.
        precision: ``fp32``, ``bf16``, ``fp16``, ``int8`` or ``auto``: the fastest here whose
            measured loss is small.
        num_threads: Threads of the engine; 0 leaves the choice to it, within the CPU quota.
        device: ``cpu``, ``cuda``, ``tensorrt`` or ``auto``.
        max_batch: Images that ``segment_batch`` may run in one go; more than one costs memory.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If its card or files are wrong, the graph is not what the card says, or
            backend, device or precision are not available.
    """
    card = read_model_card(find_model(model))  # the engine reads and verifies its file
    try:
        engine = load_backend(
            backend,
            card,
            precision=precision,
            num_threads=num_threads,
            device=device,
            max_batch=max_batch,
        )
        segmenter = Segmenter(card, engine)
        segmenter.warm_up()
    except (ValueError, FileNotFoundError):
        raise
    except Exception as error:  # engines throw what they like
        raise ValueError(f'model {card.name!r} does not run in {backend}: {error}') from error
    return segmenter
