"""JPEG and PNG files as strangers send them: their size and structure, before a decoder sees them.

OpenCV's decoders believe what a file says. A PNG of 100 bytes that announces a chunk of 2 GiB
makes them reserve it, a megabyte of zeros in its pixel data inflates for seconds, a JPEG of 30 kB
can ask for hundreds of passes over the picture. All of it is told from the structure, which is
read here strictly: what a camera driver or image_transport never writes is refused.
"""

from __future__ import annotations

import itertools
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SCANS = 32  # libjpeg's own progressive script has 10
MAX_CHUNKS = 1 << 16  # of a PNG; encoders cut pixel data into pieces of 8 KiB and more
MAX_TRAILING_BYTES = 1 << 12  # some drivers pad

_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_JPEG_SIGNATURE = b'\xff\xd8'
_INFLATE_STEP = 1 << 20
# Adam7 interlacing adds a filter byte to each row of its seven passes.
_INTERLACE_ALLOWANCE = 2
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type -> values per pixel
# Start-of-frame markers of JPEG (ITU T.81, table B.1); C4, C8 and CC are none.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Segments that may stand before the frame: tables, restart interval, application data, comment.
# Markers without a length (RST, TEM) are refused: readers disagree on what follows them, and one
# that is skipped wrongly could hide the real frame header.
_BEFORE_FRAME = frozenset({0xC4, 0xCC, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})


def is_jpeg(data: bytes) -> bool:
    """Tell a JPEG by its first bytes."""
    return data.startswith(_JPEG_SIGNATURE)


def encoded_size(data: bytes, declared: str) -> tuple[int, int]:
    """Read width and height of a PNG or JPEG without decoding it.

    Args:
        data: The file.
        declared: What its sender says that it is, for the message.

    Raises:
        ValueError: If it is neither, or its header is damaged.
    """
    if data.startswith(_PNG_SIGNATURE) and data[8:16] == b'\0\0\0\x0dIHDR' and len(data) >= 33:
        return int.from_bytes(data[16:20], 'big'), int.from_bytes(data[20:24], 'big')
    if not is_jpeg(data):
        raise ValueError(f'compressed image ({declared[:40]!r}) is neither JPEG nor PNG')
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4], 'big')
        if marker in _START_OF_FRAME:
            height = int.from_bytes(data[position + 5 : position + 7], 'big')
            return int.from_bytes(data[position + 7 : position + 9], 'big'), height
        if marker not in _BEFORE_FRAME or length < 2:
            break
        position += 2 + length
    raise ValueError('compressed image is a JPEG without a frame header: truncated or damaged')


def check_structure(data: bytes) -> None:
    """Refuse a file whose decoding would cost more than its size says.

    Args:
        data: A file that ``encoded_size`` took for a JPEG or PNG; its size was checked.

    Raises:
        ValueError: If it is truncated, has too many parts, or is followed by something else.
    """
    if is_jpeg(data):
        _check_jpeg(data)
    else:
        _check_png(data)


def _check_jpeg(data: bytes) -> None:
    end = data.rfind(b'\xff\xd9')
    if end < 0 or len(data) - end > MAX_TRAILING_BYTES:
        raise ValueError(f'compressed image of {len(data)} bytes is truncated')
    if (scans := data.count(b'\xff\xda')) > MAX_SCANS:
        raise ValueError(f'compressed image is a JPEG of {scans} scans; allowed are {MAX_SCANS}')


def _check_png(data: bytes) -> None:
    """Walk the chunks: each must lie in the file, and the pixels must inflate to their size."""
    pixel_data = []
    end = len(_PNG_SIGNATURE)
    for kind, start, stop in _chunks(data):
        end = stop + 4  # the checksum
        if kind == b'acTL':
            raise ValueError('compressed image is an animated PNG; a camera frame is one picture')
        if kind == b'IDAT':
            pixel_data.append(data[start:stop])
        if kind == b'IEND':
            break
    else:
        raise ValueError(f'compressed image of {len(data)} bytes is truncated: no end of the PNG')
    if len(data) - end > MAX_TRAILING_BYTES:
        raise ValueError(f'compressed image has {len(data) - end} bytes after the end of its PNG')
    width, height = int.from_bytes(data[16:20], 'big'), int.from_bytes(data[20:24], 'big')
    depth, color_type, interlaced = data[24], data[25], data[28]
    if color_type not in _PNG_CHANNELS:
        raise ValueError(f'compressed image is a PNG of unknown colour type {color_type}')
    row_bytes = 1 + -(-width * _PNG_CHANNELS[color_type] * depth // 8)
    allowed = row_bytes * height * (_INTERLACE_ALLOWANCE if interlaced else 1) + 1024
    _check_inflated_size(pixel_data, allowed)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Iterate the chunks of a PNG: kind, start and stop of their content."""
    position = len(_PNG_SIGNATURE)
    for count in itertools.count():
        if position + 12 > len(data):
            return
        length = int.from_bytes(data[position : position + 4], 'big')
        kind = data[position + 4 : position + 8]
        if position + 12 + length > len(data):
            raise ValueError(
                f'compressed image is truncated: chunk {kind!r} of its PNG has {length} bytes, '
                f'{len(data) - position - 12} are left'
            )
        if count >= MAX_CHUNKS:
            raise ValueError(f'compressed image is a PNG of more than {MAX_CHUNKS} chunks')
        yield kind, position + 8, position + 8 + length
        position += 12 + length


def _check_inflated_size(pieces: list[bytes], allowed: int) -> None:
    inflater, total = zlib.decompressobj(), 0
    try:
        for piece in pieces:
            waiting = piece
            while waiting:
                total += len(inflater.decompress(waiting, _INFLATE_STEP))
                waiting = inflater.unconsumed_tail
                if total > allowed:
                    raise ValueError('compressed image is a PNG that holds more than its size')
    except zlib.error as error:
        raise ValueError(f'compressed image is a damaged PNG: {error}') from error
