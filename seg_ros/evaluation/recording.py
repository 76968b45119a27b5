"""Predictions as topics of a bag, beside the originals, for RViz, Foxglove and PlotJuggler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from seg_ros.bag_storage import TYPES
from seg_ros.bag_writer import BagWriter
from seg_ros.bags import IMAGE_TYPE, Bag, BagMessage, header_frame_id, header_stamp_ns
from seg_ros.evaluation.frames import Frame
from seg_ros.model_card import ClassInfo
from seg_ros.overlay import blend, colorize, palette
from seg_ros.segmenter import Segmentation

DEFAULT_PREFIX = '/segmentation'
_OVERLAY_ALPHA = 0.5
_NAMES = ('label_mask', 'confidence', 'color_mask', 'overlay')


class PredictionTopics:
    """Copies a bag and adds what the node would publish for it; use it in a ``with``.

    These are ``label_mask``, ``confidence``, ``color_mask`` and ``overlay``: viewers draw the ids
    of a label mask as nearly black, so their colours come as a topic of their own.

    The added messages have the header of their image and its time in the bag, so that everything
    replays in step. A recording that fails halfway ends no evaluation: ``writer.failure`` says so.
    ``writer`` is given to the reader of the frames, which copies the originals.

    Args:
        source: The bag that is copied.
        path: Folder of the new bag; it must not exist.
        classes: For the colours.
        prefix: What the topics stand under, as the node's name would be.

    Raises:
        FileExistsError: If ``path`` exists.
        ValueError: If the source has one of the topics already.
    """

    def __init__(
        self,
        source: Path,
        path: Path,
        classes: tuple[ClassInfo, ...],
        *,
        prefix: str = DEFAULT_PREFIX,
    ) -> None:
        self._source = source
        self._palette = palette(classes)
        self._topics = {name: f'{prefix.rstrip("/")}/{name}' for name in _NAMES}
        with Bag(source) as bag:
            if taken := sorted(set(self._topics.values()) & bag.topics.keys()):
                raise ValueError(f'{source} has {", ".join(taken)} already; choose another prefix')
        self.writer = BagWriter(path, is_by_product=True)

    def write(self, frame: Frame, image_rgb: np.ndarray, result: Segmentation) -> None:
        """Add the results of one frame of the bag."""
        assert frame.message is not None
        assert result.confidence is not None
        overlay = blend(image_rgb, result.labels, self._palette, _OVERLAY_ALPHA)
        self._write('label_mask', result.labels, 'mono8', frame.message)
        self._write('confidence', result.confidence, 'mono8', frame.message)
        self._write('color_mask', colorize(result.labels, self._palette), 'rgb8', frame.message)
        self._write('overlay', overlay, 'rgb8', frame.message)

    def _write(self, name: str, pixels: np.ndarray, encoding: str, image: BagMessage) -> None:
        message = to_image_message(
            pixels, encoding, header_stamp_ns(image.data), header_frame_id(image.data)
        )
        self.writer.write(BagMessage(self._topics[name], IMAGE_TYPE, image.time_ns, message))

    def __enter__(self) -> PredictionTopics:
        self.writer.__enter__()
        try:
            with Bag(self._source) as bag:
                self.writer.declare_topics_of(bag)
        except BaseException as error:
            self.writer.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, *exception: Any) -> None:
        self.writer.__exit__(*exception)


def to_image_message(pixels: np.ndarray, encoding: str, stamp_ns: int, frame_id: str) -> bytes:
    """Serialise a sensor_msgs/Image without padding.

    Args:
        pixels: (H, W) or (H, W, 3) uint8.
        encoding: ``mono8``, ``rgb8`` or ``bgr8``.
        stamp_ns: Of the header.
        frame_id: Of the header.
    """
    types = TYPES.types
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    stamp = types['builtin_interfaces/msg/Time'](sec=seconds, nanosec=nanoseconds)
    message = types[IMAGE_TYPE](
        header=types['std_msgs/msg/Header'](stamp=stamp, frame_id=frame_id),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=pixels.shape[1] * (pixels.size // (pixels.shape[0] * pixels.shape[1])),
        data=np.ascontiguousarray(pixels).reshape(-1),
    )
    return bytes(TYPES.serialize_cdr(message, IMAGE_TYPE))
