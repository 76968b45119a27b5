"""Image files to arrays: the one way in which this package reads a picture from a disk.

A file is checked as an image message is: its size before anything is decoded, its structure so
that one that is cut off is refused and not filled up with grey. It is read by Python, as OpenCV
cannot open names that are no UTF-8. Rotations that EXIF asks for are carried out, on images and on
masks alike: so do the tools with which masks are drawn.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import cv2
import numpy as np

from seg_ros.image_container import (
    PNG_GREY,
    PNG_PALETTE,
    checked,
    is_jpeg,
    is_png,
    png_chunk,
    png_chunks,
)
from seg_ros.image_headers import orientation, picture_size, without_orientation

if TYPE_CHECKING:
    from pathlib import Path

MAX_FILE_PIXELS = 1 << 26  # 67 megapixels; a larger claim is taken for damage or ill will
LIMIT_VARIABLE = 'SEG_ROS_MAX_FILE_PIXELS'
_MAX_FILE_BYTES = 1 << 29


def load_image(path: Path) -> np.ndarray:
    """Read a colour image.

    Returns:
        (H, W, 3) uint8 RGB, turned as its EXIF orientation says.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be decoded, is cut off, or has more pixels than are allowed.
    """
    data = _read(path)
    image = _decode(path, data, cv2.IMREAD_COLOR)
    return _upright(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), data)


def load_grey(path: Path) -> np.ndarray:
    """Read an image as (H, W) uint8 grey; raises as ``load_image``."""
    data = _read(path)
    return _upright(_decode(path, data, cv2.IMREAD_GRAYSCALE), data)


def load_mask(path: Path) -> np.ndarray:
    """Read a mask as it was stored; raises as ``load_image``.

    Returns:
        (H, W) ids of the stored type, or (H, W, 3) uint8 RGB colours. A PNG with a palette gives
        the ids behind it, and one of 1, 2 or 4 bits the ids as they are, not stretched to 255.
    """
    return load_mask_and_palette(path)[0]


def load_mask_and_palette(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a mask as ``load_mask``, and the colours of its ids where it is a PNG with a palette.

    Returns:
        The mask, and (N, 3) uint8 RGB, one row per id, or None.
    """
    data = _read(path)
    mask = _decode(path, data, cv2.IMREAD_UNCHANGED)
    if mask.ndim == 3:  # an alpha channel tells nothing about the class
        mask = mask[:, :, 2::-1]
    has_palette = is_png(data) and data[25] == PNG_PALETTE
    return _upright(mask, data), _palette(path, data) if has_palette else None


def is_turned(path: Path) -> bool:
    """Tell whether EXIF asks for a rotation or reflection of a readable image."""
    return orientation(_read(path)) != 1


def max_file_pixels() -> int:
    """Pixels that a file may have: ``MAX_FILE_PIXELS``, or what the environment sets.

    Raises:
        ValueError: If the environment variable is no number above 0.
    """
    text = os.environ.get(LIMIT_VARIABLE, '') or str(MAX_FILE_PIXELS)
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError(f'{LIMIT_VARIABLE} is {text[:40]!r}; give a number of pixels')
    return int(text)


def _read(path: Path) -> bytes:
    try:
        state = path.stat()
        if stat.S_ISREG(state.st_mode) and state.st_size <= _MAX_FILE_BYTES:
            return path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f'{path} does not exist') from None
    except OSError as error:
        raise ValueError(f'{path} cannot be read: {error.strerror}') from error
    if not stat.S_ISREG(state.st_mode):  # a pipe would let the reader wait for ever
        raise ValueError(f'{path} is no regular file')
    raise ValueError(f'{path} has {state.st_size} bytes; an image has at most {_MAX_FILE_BYTES}')


def _decode(path: Path, data: bytes, flags: int) -> np.ndarray:
    try:
        width, height = picture_size(data)
        _check_size(width, height)
        if is_png(data) or is_jpeg(data):
            data = checked(data)
    except ValueError as error:
        raise ValueError(f'{path} cannot be decoded: {error}') from error
    as_ids = flags == cv2.IMREAD_UNCHANGED and is_png(data)
    if as_ids:
        data, depth = _grey_for_palette(data), data[24]
    encoded = np.frombuffer(without_orientation(data), np.uint8)
    try:
        pixels = cv2.imdecode(encoded, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ValueError(f'{path} cannot be decoded: {error.err}') from error
    if pixels is None or pixels.shape[:2] != (height, width):
        raise ValueError(f'{path} cannot be decoded: it is damaged or cut off')
    if as_ids and depth < 8 and pixels.ndim == 2:
        pixels //= 255 // (2**depth - 1)  # decoders stretch few bits to the whole range of grey
    return np.asarray(pixels)


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ValueError(f'its size {width}x{height} is empty')
    if width * height > (limit := max_file_pixels()):
        raise ValueError(
            f'its {width}x{height} pixels are more than {limit}; '
            f'the environment variable {LIMIT_VARIABLE} allows more'
        )


def _palette(path: Path, data: bytes) -> np.ndarray:
    for kind, start, stop in png_chunks(data):
        if kind == b'PLTE' and 0 < stop - start <= 768 and (stop - start) % 3 == 0:
            return np.frombuffer(data[start:stop], np.uint8).reshape(-1, 3)
    raise ValueError(f'{path} cannot be decoded: its palette is missing')


def _grey_for_palette(data: bytes) -> bytes:
    """Let a PNG with a palette be one of grey, which OpenCV reads without replacing the ids."""
    if data[25] != PNG_PALETTE:
        return data
    header = data[16:25] + bytes([PNG_GREY]) + data[26:29]
    pixels = [
        data[start - 8 : stop + 4] for kind, start, stop in png_chunks(data) if kind == b'IDAT'
    ]
    return b''.join((data[:8], png_chunk(b'IHDR', header), *pixels, png_chunk(b'IEND', b'')))


def _upright(image: np.ndarray, data: bytes) -> np.ndarray:
    """Turn an image as EXIF asks: 2 to 4 mirror rows or columns, 5 to 8 exchange them first."""
    turn = orientation(data)
    if turn > 4:
        image = image.swapaxes(0, 1)
    if turn in (2, 3, 6, 7):
        image = image[:, ::-1]
    if turn in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
