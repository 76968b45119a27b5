"""Sizes and orientations that image files state, read before anything is decoded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from seg_ros.image_container import (
    PictureHeader,
    is_jpeg,
    is_png,
    jpeg_segments,
    png_chunks,
    read_header,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_TILE_PIXELS = 1 << 24  # of a TIFF; writers take 256 x 256
_MAX_TAGS = 1 << 12
_EXIF = b'Exif\0\0'
_TIFF = (b'II*\0', b'MM\0*')
_APP1 = 0xE1
# Binary and plain PBM, PGM and PPM: width and height follow, with comments between them.
_PNM = re.compile(rb'P[1-6](?:\s+|#[^\n]*\n)+(\d{1,9})(?:\s+|#[^\n]*\n)+(\d{1,9})\s')
_PNM_HEADER_BYTES = 1 << 12
# Tags of TIFF 6.0 and EXIF, and types of their values: bytes of each.
_WIDTH, _HEIGHT, _ORIENTATION, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 274, 322, 323
_VALUE_BYTES = {1: 1, 3: 2, 4: 4}


class _Size(NamedTuple):
    width: int
    height: int


def picture_size(data: bytes) -> tuple[int, int]:
    """Read width and height of a PNG, JPEG, BMP, WebP, PPM, PGM, PBM or TIFF.

    Raises:
        ValueError: If it is none of these, or its header is damaged.
    """
    if is_png(data) or is_jpeg(data):
        header: PictureHeader = read_header(data)
        return header.width, header.height
    if data.startswith(b'BM') and len(data) >= 26:
        return _bmp_size(data)
    if data.startswith(b'RIFF') and data[8:12] == b'WEBP':
        return _webp_size(data)
    if found := _PNM.match(data, 0, _PNM_HEADER_BYTES):
        return int(found[1]), int(found[2])
    if data.startswith(_TIFF):
        return _tiff_size(data)
    raise ValueError('it is none of PNG, JPEG, BMP, WebP, PPM, PGM and TIFF')


def orientation(data: bytes) -> int:
    """Read the EXIF orientation of a JPEG, PNG, WebP or TIFF.

    Returns:
        1 to 8, as EXIF counts them; 1, upright, where nothing is said or what is said is damaged.
    """
    for tiff in filter(lambda block: block.startswith(_TIFF), _exif_blocks(data)):
        value = _tiff_tags(tiff).get(_ORIENTATION, 1)
        return value if 1 <= value <= 8 else 1
    return 1


def without_orientation(data: bytes) -> bytes:
    """Let a TIFF be upright as it is stored: OpenCV turns it whatever it was told."""
    if not data.startswith(_TIFF):
        return data
    changed = bytearray(data)
    for tag, _, place in _tiff_entries(data):
        if tag == _ORIENTATION:
            changed[place] = (1).to_bytes(
                place.stop - place.start, 'little' if data[:1] == b'I' else 'big'
            )
    return bytes(changed)


def _exif_blocks(data: bytes) -> Iterator[bytes]:
    if is_jpeg(data):
        for marker, start, stop in jpeg_segments(data):
            if marker == _APP1 and data[start : start + len(_EXIF)] == _EXIF:
                yield data[start + len(_EXIF) : stop]
    elif is_png(data):
        yield from (data[start:stop] for kind, start, stop in png_chunks(data) if kind == b'eXIf')
    elif data.startswith(b'RIFF'):
        for kind, start, stop in _riff_chunks(data):
            if kind == b'EXIF':
                yield data[start:stop].removeprefix(_EXIF)
    elif data.startswith(_TIFF):
        yield data


def _bmp_size(data: bytes) -> _Size:
    if int.from_bytes(data[14:18], 'little') == 12:  # OS/2
        return _Size(*(int.from_bytes(data[at : at + 2], 'little') for at in (18, 20)))
    # Negative rows are stored from the top.
    return _Size(
        *(abs(int.from_bytes(data[at : at + 4], 'little', signed=True)) for at in (18, 22))
    )


def _webp_size(data: bytes) -> _Size:
    for kind, start, stop in _riff_chunks(data):
        head = data[start : min(stop, start + 10)]
        if kind == b'VP8X' and len(head) == 10:
            return _Size(*(1 + int.from_bytes(head[at : at + 3], 'little') for at in (4, 7)))
        if kind == b'VP8 ' and head[3:6] == b'\x9d\x01\x2a' and len(head) == 10:
            # The two highest bits tell how to enlarge it for show.
            return _Size(*(int.from_bytes(head[at : at + 2], 'little') & 0x3FFF for at in (6, 8)))
        if kind == b'VP8L' and head[:1] == b'\x2f' and len(head) >= 5:
            bits = int.from_bytes(head[1:5], 'little')
            return _Size(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
        break
    raise ValueError('it is a damaged WebP')


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    position = 12
    while position + 8 <= len(data):
        length = int.from_bytes(data[position + 4 : position + 8], 'little')
        yield data[position : position + 4], position + 8, position + 8 + length
        position += 8 + length + length % 2


def _tiff_size(data: bytes) -> _Size:
    tags = _tiff_tags(data)
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise ValueError('it is a TIFF without a size: truncated or damaged')
    tile = tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_HEIGHT, 0)
    if tile > _MAX_TILE_PIXELS:
        raise ValueError(f'it is a TIFF of tiles of {tile} pixels; allowed are {_MAX_TILE_PIXELS}')
    return _Size(tags[_WIDTH], tags[_HEIGHT])


def _tiff_tags(data: bytes) -> dict[int, int]:
    return {tag: value for tag, value, _ in _tiff_entries(data)}


def _tiff_entries(data: bytes) -> Iterator[tuple[int, int, slice]]:
    """Tag, value and its place, where it is one number, of the first directory of a TIFF."""
    order: Literal['little', 'big'] = 'little' if data[:2] == b'II' else 'big'

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)

    start = number(4, 4)
    for index in range(min(number(start, 2), _MAX_TAGS)):
        entry = start + 2 + 12 * index
        size = _VALUE_BYTES.get(number(entry + 2, 2))
        if size and number(entry + 4, 4) == 1 and entry + 12 <= len(data):
            yield number(entry, 2), number(entry + 8, size), slice(entry + 8, entry + 8 + size)
