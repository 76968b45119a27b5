"""JPEG and PNG files as strangers send them: their size and structure, before a decoder sees them.

OpenCV's decoders believe what a file says. A PNG of 100 bytes that announces a chunk of 2 GiB
makes them reserve it, a megabyte of zeros behind its pixels is inflated for seconds, a JPEG of
30 kB can ask for hundreds of passes over the picture. All of it is told from the structure, which
is read here strictly: what a camera driver or image_transport never writes is refused.

The reasons given here are the second half of a sentence: the caller says which message or file.
"""

from __future__ import annotations

import itertools
import re
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SCANS = 32  # libjpeg's own progressive script has 10
MAX_CHUNKS = 1 << 16  # of a PNG; encoders cut pixel data into pieces of 8 KiB and more

_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_JPEG_SIGNATURE = b'\xff\xd8'
_INFLATE_STEP = 1 << 20
_MAX_DEFLATE_RATIO = 1032  # zlib's technical details: 258 bytes from 2 bits
# What a decoder may inflate in vain: OpenCV takes 0.4 s for it.
_HARMLESS_EXCESS_BYTES = 1 << 26
# Adam7 interlacing adds a filter byte to each row of its seven passes.
_INTERLACE_ALLOWANCE = 2
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type -> values per pixel
PNG_GREY, PNG_PALETTE = 0, 3  # colour types
# Start-of-frame markers of JPEG (ITU T.81, table B.1); C4, C8 and CC are none.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# Segments that may stand before the frame: tables, restart interval, application data, comment.
# Markers without a length (RST, TEM) are refused: readers disagree on what follows them, and one
# that is skipped wrongly could hide the real frame header.
_BEFORE_FRAME = frozenset({0xC4, 0xCC, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
# The next marker that has a meaning outside of the coded pixels, found as libjpeg finds it: there
# FF is followed by 00 (a pixel's byte), D0 to D7 (restart) or more FF.
_NEXT_MARKER = re.compile(rb'\xff[^\x00\x01\xff\xd0-\xd7]')


class PictureHeader(NamedTuple):
    """What a file says of its picture.

    Attributes:
        width: Columns.
        height: Rows.
        channels: Values per pixel as stored; 1 for grey and for a palette.
    """

    width: int
    height: int
    channels: int


def is_jpeg(data: bytes) -> bool:
    """Tell a JPEG by its first bytes."""
    return data.startswith(_JPEG_SIGNATURE)


def is_png(data: bytes) -> bool:
    """Tell a PNG by its first bytes."""
    return data.startswith(_PNG_SIGNATURE)


def read_header(data: bytes) -> PictureHeader:
    """Read the size of a PNG or JPEG without decoding it.

    Raises:
        ValueError: If it is neither, or its header is damaged.
    """
    if is_png(data) and data[8:16] == b'\0\0\0\x0dIHDR' and len(data) >= 33:
        channels = _PNG_CHANNELS.get(data[25])
        if channels is None:
            raise ValueError(f'it is a PNG of unknown colour type {data[25]}')
        width, height = (int.from_bytes(data[at : at + 4], 'big') for at in (16, 20))
        return PictureHeader(width, height, channels)
    if not is_jpeg(data):
        raise ValueError('it is neither JPEG nor PNG')
    for marker, start, _ in jpeg_segments(data):
        if marker in _START_OF_FRAME and start + 6 <= len(data):
            height, width = (
                int.from_bytes(data[at : at + 2], 'big') for at in (start + 1, start + 3)
            )
            return PictureHeader(width, height, data[start + 5])
    raise ValueError('it is a JPEG without a frame header: truncated or damaged')


def checked(data: bytes) -> bytes:
    """Refuse a file whose decoding would cost more than its size says, or that is cut off.

    Args:
        data: A file whose header was read and whose size may be decoded.

    Returns:
        The same picture for a decoder: a PNG that had to be inflated to judge it comes back with
        its pixels as they are, so that they are not inflated twice.

    Raises:
        ValueError: If it is truncated, has too many parts, or holds more than its size.
    """
    if is_jpeg(data):
        _check_jpeg(data)
        return data
    return _checked_png(data)


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Iterate the segments of a JPEG up to its frame: marker, start and stop of the content.

    Ends early where something else stands there, or where the file ends.
    """
    position = len(_JPEG_SIGNATURE)
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4], 'big')
        if length < 2 or marker not in _BEFORE_FRAME | _START_OF_FRAME:
            return
        yield marker, position + 4, position + 2 + length
        if marker in _START_OF_FRAME:
            return
        position += 2 + length


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Iterate the chunks of a PNG: kind, start and stop of their content.

    Raises:
        ValueError: If one ends behind the file, or there are too many.
    """
    position = len(_PNG_SIGNATURE)
    for count in itertools.count():
        if position + 12 > len(data):
            return
        length = int.from_bytes(data[position : position + 4], 'big')
        kind = data[position + 4 : position + 8]
        if position + 12 + length > len(data):
            raise ValueError(
                f'it is truncated: chunk {kind!r} of its PNG has {length} bytes, '
                f'{len(data) - position - 12} are left'
            )
        if count >= MAX_CHUNKS:
            raise ValueError(f'it is a PNG of more than {MAX_CHUNKS} chunks')
        yield kind, position + 8, position + 8 + length
        if kind == b'IEND':  # what follows is not read
            return
        position += 12 + length


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk with its length and checksum."""
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return b''.join((len(content).to_bytes(4, 'big'), kind, content, checksum.to_bytes(4, 'big')))


def _check_jpeg(data: bytes) -> None:
    """Walk to the end of the picture: what follows it, padding or a second picture, is not read.

    Thumbnails, which have an end of their own, lie in segments that are stepped over.
    """
    scans = 0
    position = len(_JPEG_SIGNATURE)
    while found := _NEXT_MARKER.search(data, position):
        marker = data[found.end() - 1]
        if marker == _END_OF_IMAGE:
            return
        if marker == _START_OF_SCAN:
            scans += 1
            if scans > MAX_SCANS:
                raise ValueError(f'it is a JPEG of more than {MAX_SCANS} scans')
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], 'big')
    raise ValueError(f'it is truncated: no end of the JPEG in its {len(data)} bytes')


def _checked_png(data: bytes) -> bytes:
    """Walk the chunks: each must lie in the file, and the pixels must inflate to their size."""
    others, pixel_data = [], []
    for kind, start, stop in png_chunks(data):
        if kind == b'acTL':
            raise ValueError('it is an animated PNG; expected one picture')
        if kind == b'IEND':
            break
        if kind == b'IDAT':
            pixel_data.append(data[start:stop])
        elif not pixel_data:  # what comes later says nothing of the pixels
            others.append(data[start - 8 : stop + 4])
    else:
        raise ValueError(f'it is truncated: no end of the PNG in its {len(data)} bytes')
    width, height, channels = read_header(data)
    depth, interlaced = data[24], data[28]
    row_bytes = 1 + -(-width * channels * depth // 8)
    allowed = row_bytes * height * (_INTERLACE_ALLOWANCE if interlaced else 1) + 1024
    if sum(map(len, pixel_data)) * _MAX_DEFLATE_RATIO <= allowed + _HARMLESS_EXCESS_BYTES:
        return data
    pixels = [png_chunk(b'IDAT', piece) for piece in _stored(pixel_data, allowed)]
    return b''.join((_PNG_SIGNATURE, *others, *pixels, png_chunk(b'IEND', b'')))


def _stored(pieces: list[bytes], allowed: int) -> Iterator[bytes]:
    """Inflate, and deflate again without compressing, which costs a tenth."""
    inflater, storer, total = zlib.decompressobj(), zlib.compressobj(0), 0
    try:
        for piece in pieces:
            waiting = piece
            while waiting:
                inflated = inflater.decompress(waiting, _INFLATE_STEP)
                waiting = inflater.unconsumed_tail
                total += len(inflated)
                if total > allowed:
                    raise ValueError('it is a PNG that holds more than its size')
                if stored := storer.compress(inflated):
                    yield stored
            if inflater.eof:
                break
    except zlib.error as error:
        raise ValueError(f'it is a damaged PNG: {error}') from error
    if not inflater.eof:
        raise ValueError('it is truncated: the pixels of its PNG have no end')
    yield storer.flush()
