"""Limits on what compressed recordings expand to; rosbags itself has none.

A zstd frame of 1 MB can announce and produce tens of gigabytes, lz4 and bzip2 hundreds of
megabytes. Messages and chunks are therefore expanded up to the size of the largest image, files up
to a multiple of their own size.
"""

from __future__ import annotations

import bz2
import contextlib
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, BinaryIO, Literal

import lz4.frame  # type: ignore[import-untyped]

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZstdError = zstd.ZstdError
MAX_EXPANDED_BYTES = 1 << 29  # a message or chunk; an RGB image of MAX_FILE_PIXELS takes 200 MB
MAX_FILE_RATIO = 200  # recorded images reach 2 to 20, label masks 100


def expand_zstd(data: bytes, limit: int | None = None) -> bytes:
    """Expand zstd frames; see ``_expand``."""
    return _expand(data, zstd.ZstdDecompressor, limit)


def expand_lz4(data: bytes, limit: int | None = None) -> bytes:
    """Expand lz4 frames; see ``_expand``."""
    try:
        return _expand(data, lz4.frame.LZ4FrameDecompressor, limit)
    except RuntimeError as error:  # the library has no error of its own
        raise ValueError(f'damaged lz4: {error}') from error


def expand_bz2(data: bytes, limit: int | None = None) -> bytes:
    """Expand bzip2 streams; see ``_expand``."""
    return _expand(data, bz2.BZ2Decompressor, limit)


def _expand(data: bytes, decompressor: Callable[[], Any], limit: int | None) -> bytes:
    """Expand one compressed frame after the other.

    Args:
        data: The frames.
        decompressor: Makes what expands one of them.
        limit: How many bytes may come out, ``MAX_EXPANDED_BYTES`` at most and by default.

    Raises:
        ValueError: If more come out, or the data ends too early.
        OSError, RuntimeError or ZstdError: If it is no such frame.
    """
    expanded = []
    most = MAX_EXPANDED_BYTES if limit is None else min(limit, MAX_EXPANDED_BYTES)
    left = most
    while data:
        frame = decompressor()
        expanded.append(frame.decompress(data, left + 1))
        left -= len(expanded[-1])
        if left < 0:
            raise ValueError(f'{len(data)} compressed bytes expand to more than {most}')
        if not frame.eof:
            raise ValueError('compressed data ends too early')
        data = frame.unused_data or b''
    return b''.join(expanded)


class _Allowance:
    """How many bytes the files of a recording may still expand to, all together."""

    def __init__(self, compressed_bytes: int) -> None:
        self.left = max(MAX_EXPANDED_BYTES, MAX_FILE_RATIO * compressed_bytes)


_allowance: ContextVar[_Allowance] = ContextVar('allowance')


@contextlib.contextmanager
def limited_files(compressed_bytes: int) -> Iterator[None]:
    """Within it, ``LimitedFile`` expands to a multiple of what the files take, all together."""
    token = _allowance.set(_Allowance(compressed_bytes))
    try:
        yield
    finally:
        _allowance.reset(token)


class LimitedFile(zstd.ZstdFile):
    """A compressed file that stops expanding where no recording would; see ``limited_files``.

    Args:
        file: The open compressed file.
        mode: ``rb``.
    """

    def __init__(self, file: BinaryIO, mode: Literal['rb'] = 'rb') -> None:
        super().__init__(file, mode)
        self._allowance = _allowance.get()

    def read(self, size: int | None = -1) -> bytes:
        """Read as a file; raises ValueError beyond the limit."""
        data: bytes = super().read(size)
        self._allowance.left -= len(data)
        if self._allowance.left < 0:
            raise ValueError('the compressed files expand to more than a recording does')
        return data
