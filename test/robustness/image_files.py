"""Image files that are damaged, cut off, padded or of another kind than their name says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

from seg_ros.image_files import load_image, load_mask_and_palette
from seg_ros.image_headers import orientation, picture_size
from test.robustness.strategies import damaged, pictures, strange_files
from test.robustness.tally import Tally, draw_cases

if TYPE_CHECKING:
    from pathlib import Path

PADDING = (b'\0', b'\xff', b'\xff\xd8\xff\xe0', b'\xff\xd9', b'RIFF')


def fuzz_image_files(folder: Path, cases: int) -> list[Tally]:
    """Read drawn files: each gives a picture of the size that it states, or a reason."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'drawn.png'
    wholes = [data for data in (*pictures(), *strange_files()) if len(data) > 64]
    before = [load_image(_written(path, data)) for data in pictures()]

    def read(data: bytes) -> str | None:
        pixels = load_image(_written(path, data))
        mask, palette = load_mask_and_palette(path)
        size_hw = picture_size(data)[::-1]
        expected = size_hw[::-1] if orientation(data) > 4 else size_hw
        if pixels.shape != (*expected, 3) or mask.shape[:2] != expected:
            return f'{pixels.shape} and {mask.shape} of {expected}'
        if palette is not None and palette.shape[1:] != (3,):
            return f'a palette of {palette.shape}'
        return None

    def read_padded(case: tuple[int, bytes, int]) -> str | None:
        index, padding, count = case
        pixels = load_image(_written(path, pictures()[index] + padding * count))
        return None if np.array_equal(pixels, before[index]) else 'other pixels than without it'

    indices = st.integers(0, len(pictures()) - 1)
    return [
        draw_cases(Tally('image files'), st.sampled_from(wholes).flatmap(damaged), cases, read),
        draw_cases(
            Tally('image files with something behind them'),
            st.tuples(indices, st.sampled_from(PADDING), st.integers(0, 20_000)),
            cases // 4,
            read_padded,
        ),
    ]


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
