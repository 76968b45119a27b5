"""Bad frames without ROS: through the decoder and the segmenter, and through recorded bags."""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_typestore

from seg_ros.bag_writer import BagWriter
from seg_ros.bags import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE, BagMessage
from seg_ros.evaluation.frames import BagFrames
from seg_ros.evaluation.skips import Skips
from seg_ros.image import (
    decode_compressed_image,
    decode_compressed_labels,
    decode_image,
    decode_labels,
)
from seg_ros.image_container import read_header
from test.conftest import stripes
from test.robustness.aftermath import what_follows_is_wrong
from test.robustness.strategies import compressed_images, images
from test.robustness.tally import Tally, draw_cases

if TYPE_CHECKING:
    from pathlib import Path

    from seg_ros.segmenter import Segmenter

TYPES = get_typestore(Stores.ROS2_JAZZY)
LIMIT = 1 << 20  # max_image_pixels of these runs, so that what is accepted stays small
TOPIC = '/camera'
PER_BAG = 50


def fuzz_decoder(net: Segmenter, cases: int) -> list[Tally]:
    """Decode and segment drawn messages; what is accepted must come out at its own size."""

    def raw(message: SimpleNamespace) -> str | None:
        image = decode_image(message, max_image_pixels=LIMIT)
        return _segmented(net, image, message.height, message.width)

    def compressed(message: SimpleNamespace) -> str | None:
        image = decode_compressed_image(message, max_image_pixels=LIMIT)
        width, height, _ = read_header(message.data)
        return _segmented(net, image, height, width)

    def labels(message: SimpleNamespace) -> str | None:
        ids = decode_labels(message, max_image_pixels=LIMIT)
        return _compared(ids.shape, (message.height, message.width))

    def compressed_labels(message: SimpleNamespace) -> str | None:
        ids = decode_compressed_labels(message, max_image_pixels=LIMIT)
        return _compared(ids.shape, read_header(message.data)[1::-1])

    return [
        draw_cases(Tally('Image, decoder and segmenter'), images(), cases, raw),
        draw_cases(Tally('CompressedImage, the same'), compressed_images(), cases, compressed),
        draw_cases(Tally('Image of labels'), images(), cases // 4, labels),
        draw_cases(
            Tally('CompressedImage of labels'), compressed_images(), cases // 4, compressed_labels
        ),
    ]


def fuzz_bags(folder: Path, cases: int) -> list[Tally]:
    """Record drawn messages between valid ones and read the bags as the evaluation does."""
    untouched = st.just(0)
    cut = st.one_of(untouched, untouched, untouched, st.integers(1, 60))  # bytes of the message
    tallies = []
    for kind, strategy in ((IMAGE_TYPE, images()), (COMPRESSED_IMAGE_TYPE, compressed_images())):
        drawn: list[bytes] = []

        def record(case: Any, kind: str = kind, drawn: list[bytes] = drawn) -> None:
            message, missing = case
            data = serialized(message, kind)
            drawn.append(data[: len(data) - missing])

        name = kind.rpartition('/')[2]
        tally = draw_cases(Tally(f'{name} in bags'), st.tuples(strategy, cut), cases, record)
        tally.served = 0
        for start in range(0, len(drawn), PER_BAG):
            path = folder / f'{name}{start}'
            _read_bag(path, drawn[start : start + PER_BAG], kind, tally)
            shutil.rmtree(path)
        tallies.append(tally)
    return tallies


def serialized(message: SimpleNamespace, kind: str) -> bytes:
    """CDR of a drawn message."""
    types = TYPES.types
    time = types['builtin_interfaces/msg/Time'](*message.stamp)
    header = types['std_msgs/msg/Header'](stamp=time, frame_id='camera')
    fields = {key: value for key, value in vars(message).items() if key != 'stamp'}
    fields['data'] = np.frombuffer(fields['data'], np.uint8)
    return bytes(TYPES.serialize_cdr(types[kind](header=header, **fields), kind))


def _read_bag(path: Path, drawn: list[bytes], kind: str, tally: Tally) -> None:
    """Write bad and valid messages in turn; each must come out, as a frame or as a reason."""
    image, _ = stripes()
    valid = valid_image(kind)
    with BagWriter(path) as writer:
        for index, data in enumerate(drawn):
            writer.write(BagMessage(TOPIC, kind, 2 * index, data))
            writer.write(BagMessage(TOPIC, kind, 2 * index + 1, valid))
    skips = Skips()
    intact, bad_frames = 0, 0
    for frame in BagFrames([path], TOPIC).read(skips):
        assert frame.message is not None
        if frame.message.data == valid:
            intact += bool(np.array_equal(frame.image.pixels, image))
            continue
        bad_frames += 1
        if wrong := _compared(frame.image.pixels.shape[:2], _announced_size(frame.message)):
            tally.wrong_sizes.append(wrong)
    if intact < len(drawn):
        tally.crashes.append(f'{len(drawn) - intact} valid frames of {path.name} were lost')
    if bad_frames + skips.count != len(drawn):
        tally.crashes.append(f'{len(drawn)} messages gave {bad_frames} + {skips.count} results')
    tally.served += bad_frames
    for reason in skips.to_json()['reasons']:
        for item in reason['items']:
            tally.reject(item.partition(': ')[2])


def valid_image(kind: str) -> bytes:
    """The stripes, lossless, with a stamp of their own."""
    image, _ = stripes()
    height, width = image.shape[:2]
    message = SimpleNamespace(
        stamp=(7, 7),
        height=height,
        width=width,
        encoding='rgb8',
        is_bigendian=0,
        step=width * 3,
        data=image.tobytes(),
    )
    if kind == COMPRESSED_IMAGE_TYPE:
        # the stripes in the other order: the decoder gives BGR
        png = cv2.imencode('.png', image)[1].tobytes()
        message = SimpleNamespace(stamp=(7, 7), format='png', data=png)
    return serialized(message, kind)


def _announced_size(message: BagMessage) -> tuple[int, int]:
    fields = TYPES.deserialize_cdr(message.data, message.type)
    if message.type == COMPRESSED_IMAGE_TYPE:
        return read_header(bytes(fields.data))[1::-1]
    return fields.height, fields.width


def _segmented(net: Segmenter, image: Any, height: int, width: int) -> str | None:
    if image.pixels.shape != (height, width, 3):
        return f'pixels are {image.pixels.shape}, not {height}x{width}'
    result = net.segment(image.pixels, image.order, with_confidence=True)
    if wrong := _compared(result.labels.shape, (height, width)):
        return wrong
    return what_follows_is_wrong(result.labels, result.confidence)


def _compared(got: tuple[int, ...], announced: tuple[int, int]) -> str | None:
    return None if got == announced else f'{got} instead of {announced}'
