"""Limits on what compressed bags expand to; rosbags itself has none.

A zstd frame of 1 MB can announce and produce tens of gigabytes. Messages and chunks are therefore
expanded up to the size of the largest image, files up to a multiple of their own size.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, BinaryIO, Literal

from rosbags.rosbag2 import reader, storage_mcap

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd  # rosbags depends on it

ZstdError = zstd.ZstdError
MAX_EXPANDED_BYTES = 1 << 29  # a message or chunk; an RGB image of MAX_IMAGE_PIXELS takes 200 MB
MAX_FILE_RATIO = 200  # recorded images reach 2 to 20, label masks 100


def expand(data: bytes) -> bytes:
    """Expand zstd frames.

    Raises:
        ValueError: If more than ``MAX_EXPANDED_BYTES`` come out, or the data ends too early.
        zstd.ZstdError: If it is no zstd.
    """
    expanded = []
    left = MAX_EXPANDED_BYTES
    while data:
        frame = zstd.ZstdDecompressor()
        expanded.append(frame.decompress(data, left + 1))
        left -= len(expanded[-1])
        if left < 0:
            raise ValueError(
                f'{len(data)} compressed bytes expand to more than {MAX_EXPANDED_BYTES}; '
                'no image is that large'
            )
        if not frame.eof:
            raise ValueError('compressed data ends too early')
        data = frame.unused_data
    return b''.join(expanded)


class LimitedFile(zstd.ZstdFile):
    """A compressed file that stops expanding where no recording would.

    Args:
        file: The open compressed file.
        mode: ``rb``.
    """

    def __init__(self, file: BinaryIO, mode: Literal['rb'] = 'rb') -> None:
        super().__init__(file, mode)
        self._left = max(MAX_EXPANDED_BYTES, MAX_FILE_RATIO * Path(file.name).stat().st_size)

    def read(self, size: int | None = -1) -> bytes:
        """Read as a file; raises ValueError beyond the limit."""
        data: bytes = super().read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError('the compressed file expands to more than a recording does')
        return data


class _LimitedZstd:
    """What rosbags' reader uses of the zstd module."""

    decompress = staticmethod(expand)
    open = LimitedFile


def limit_rosbags() -> None:
    """Let every bag that this process reads be expanded within the limits."""
    module: Any = reader
    module.zstd = _LimitedZstd
    storage_mcap.DECOMPRESSORS['zstd'] = lambda data, _: expand(data)
