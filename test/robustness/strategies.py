"""Messages that lie: every field of an image message drawn independently of the others."""

from __future__ import annotations

import functools
import math
import struct
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
from hypothesis import strategies as st

from seg_ros.image import ENCODINGS
from test.conftest import stripes

SANE_SIZES = st.one_of(st.integers(1, 70), st.integers(1, 3))  # few pixels are an edge of much
WRONG_SIZES = st.sampled_from([0, 1, 3, 20_000, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1])
UNKNOWN_ENCODINGS = st.one_of(
    st.sampled_from(
        ['', 'jpeg', 'BGR8', 'bgr8 ', 'bgr8\0', '32FC1', '64FC4', '8UC0', '8UC65535', 'nv12', '👾']
    ),
    st.text(max_size=12),
    st.just('x' * 100_000),
)
STAMPS = st.tuples(
    st.sampled_from([0, 1, -1, 5, 1_700_000_000, 4_000_000, -(2**31), 2**31 - 1]),
    st.sampled_from([0, 1, 999_999_999, 10**9, 2**32 - 1]),
)
DAMAGES = ('none', 'none', 'cut', 'flip', 'append', 'prepend', 'overwrite')
MAX_DATA = 70 * 70 * 8


@st.composite
def images(draw):
    """Fields of a sensor_msgs/Image, of which none, one or several lie."""
    lies = draw(st.sets(st.sampled_from(['encoding', 'size', 'step', 'length']), max_size=3))
    encoding = draw(UNKNOWN_ENCODINGS if 'encoding' in lies else st.sampled_from(ENCODINGS))
    height, width = draw(st.tuples(SANE_SIZES, SANE_SIZES))
    if 'size' in lies:
        height, width = draw(
            st.sampled_from([SANE_SIZES, WRONG_SIZES]).flatmap(lambda s: st.tuples(s, WRONG_SIZES))
        )
    row = width * _bytes_per_pixel(encoding)
    step = row + draw(st.integers(0, 9))
    if 'step' in lies:
        step = draw(st.sampled_from([row - 1, row // 2, row * 2, 0, 1, 2**32 - 1]))
    step = min(max(step, 0), 2**32 - 1)
    length = step * height
    if 'length' in lies:
        length = draw(st.sampled_from([length - 1, length + 1, length // 2, length * 2, 0, 1]))
    return SimpleNamespace(
        stamp=draw(STAMPS),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=draw(st.sampled_from([0, 1, 7, 255])),
        step=step,
        data=bytes([draw(st.integers(0, 255))]) * min(max(length, 0), MAX_DATA),
    )


@st.composite
def compressed_images(draw):
    """Fields of a sensor_msgs/CompressedImage: real files, damaged in every way, and bombs."""
    files = st.sampled_from([pictures(), pictures(), bombs(), strange_files()])
    data = draw(files.flatmap(st.sampled_from))
    return SimpleNamespace(
        stamp=draw(STAMPS),
        format=draw(
            st.one_of(
                st.sampled_from(['jpeg', 'png', '', 'rgb8; jpeg compressed bgr8', 'x' * 9999]),
                st.text(max_size=8),
            )
        ),
        data=draw(damaged(data)),
    )


@st.composite
def damaged(draw, data):
    """Bytes after one kind of damage, or none."""
    damage = draw(st.sampled_from(DAMAGES))
    if damage == 'cut':
        return data[: draw(st.integers(0, len(data)))]
    if damage == 'append':
        return data + draw(st.sampled_from([b'\0' * 16, b'PK\x03\x04' * 3000, b'<script>', data]))
    if damage == 'prepend':
        return draw(st.sampled_from([b'\xef\xbb\xbf', b'GIF89a', b'\0'])) + data
    if damage == 'none' or not data:
        return data
    changed = bytearray(data)
    # the head holds what decoders believe
    head = st.integers(min(8, len(data) - 1), min(64, len(data)) - 1)
    places = st.one_of(head, st.integers(0, len(data) - 1))
    for _ in range(draw(st.integers(1, 8))):
        place = draw(places)
        if damage == 'flip':
            changed[place] ^= 1 << draw(st.integers(0, 7))
        else:
            value = draw(st.sampled_from([b'\xff\xff\xff\xff', b'\0\0\0\0', b'\x7f\xff\xff\xf0']))
            changed[place : place + 4] = value[: len(changed) - place]
    return bytes(changed)


@st.composite
def camera_infos(draw):
    """Fields of a sensor_msgs/CameraInfo whose matrices need not be numbers."""
    number = st.one_of(
        st.sampled_from([0.0, -1.0, 1.0, math.nan, math.inf, -math.inf, 1e308, 5e-324, 500.0]),
        st.floats(-1e4, 1e4),
    )
    return SimpleNamespace(
        stamp=draw(STAMPS),
        height=draw(st.one_of(SANE_SIZES, WRONG_SIZES)),
        width=draw(st.one_of(SANE_SIZES, WRONG_SIZES)),
        distortion_model=draw(st.sampled_from(['', 'plumb_bob', 'equidistant', 'no such model'])),
        d=draw(st.lists(number, max_size=14)),
        k=draw(st.lists(number, min_size=9, max_size=9)),
        r=draw(st.lists(number, min_size=9, max_size=9)),
        p=draw(st.lists(number, min_size=12, max_size=12)),
    )


@functools.cache
def pictures() -> tuple[bytes, ...]:
    """Valid JPEG and PNG files: baseline, progressive, with restarts, grey, 16 bit, with alpha."""
    image, labels = stripes()
    bgr = np.ascontiguousarray(image[..., ::-1])
    noise = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    return (
        _encoded('.jpg', bgr),
        _encoded('.jpg', noise, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        _encoded('.jpg', labels, cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
        _encoded('.png', bgr),
        _encoded('.png', noise),
        _encoded('.png', labels),
        _encoded('.png', bgr.astype(np.uint16) * 257),
        _encoded('.png', cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA)),
    )


@functools.cache
def strange_files() -> tuple[bytes, ...]:
    """Files of kinds that a camera does not send."""
    image, _ = stripes()
    kinds = ('.bmp', '.webp', '.tiff', '.ppm')
    return (*(_encoded(kind, image) for kind in kinds), b'GIF89a' + bytes(64), b'', b'\xff\xd8')


@functools.cache
def bombs() -> tuple[bytes, ...]:
    """Small files that ask for much; none is a picture that may be decoded."""
    zeros = zlib.compress(bytes(1 << 27), 9)
    head, rest = _png_parts()
    progressive = _encoded(
        '.jpg', np.zeros((64, 64, 3), np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1
    )
    last_scan = progressive[progressive.rfind(b'\xff\xda') : -2]
    jpeg = _encoded('.jpg', np.zeros((8, 8, 3), np.uint8))
    frame = jpeg.index(b'\xff\xc0')
    huge = struct.pack('>HH', 65_500, 65_500)
    hidden = (
        jpeg[:2] + b'\xff\x01' + jpeg[frame : frame + 5] + huge + jpeg[frame + 9 :]
    )  # some readers give the marker 01 a length and do not see this frame
    return (
        head[:16] + struct.pack('>II', 60_000, 60_000) + head[24:] + rest,
        head + struct.pack('>I', 0x7FFF_FFF0) + b'tEXt' + bytes(100) + rest,
        head + png_chunk(b'IDAT', zeros) + png_chunk(b'IEND', b''),
        head + png_chunk(b'acTL', struct.pack('>II', 1 << 30, 0)) + rest,
        head + png_chunk(b'tEXt', b'') * 70_000 + rest,
        jpeg[: frame + 5] + huge + jpeg[frame + 9 :],
        hidden,
        progressive[:-2] + last_scan * 500 + b'\xff\xd9',
    )


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk with its length and checksum."""
    checksum = zlib.crc32(kind + content)
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', checksum)


def _png_parts() -> tuple[bytes, bytes]:
    """A small PNG, cut behind its header."""
    data = _encoded('.png', np.zeros((8, 8, 3), np.uint8))
    return data[:33], data[33:]


def _encoded(extension: str, pixels: np.ndarray, *options: int) -> bytes:
    done, data = cv2.imencode(extension, pixels, options)
    assert done
    return data.tobytes()


def _bytes_per_pixel(encoding: str) -> int:
    if encoding in ('bgr8', 'rgb8', '8UC3'):
        return 3
    if encoding in ('bgra8', 'rgba8', '8UC4'):
        return 4
    if encoding in ('bgr16', 'rgb16'):
        return 6
    return 2 if '16' in encoding or 'yu' in encoding or encoding == 'uyvy' else 1
