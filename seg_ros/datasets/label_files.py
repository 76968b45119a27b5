"""Masks that are PNGs with a palette: whether their ids or their colours name the classes.

Annotation tools write the class id as the index behind the colour. Image programs write what they
like: ``optipng`` and quantisation reorder a palette, so that only the colours keep their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from seg_ros.datasets.image_files import Color, map_colors, map_ids
from seg_ros.image_files import load_mask_and_palette
from seg_ros.model_card import VOID_ID

PALETTES = ('auto', 'ids', 'colors')


def load_labels(
    path: Path,
    ids: Mapping[int, int],
    colors: Mapping[Color, int],
    *,
    palette: str = 'auto',
    unknown_is_void: bool = False,
    unknown_ids_are_void: bool = False,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read a mask of ids, of ids behind a palette, or of colours.

    Args:
        path: The mask.
        ids: Stored id -> class id (255 for void).
        colors: (red, green, blue) -> class id (255 for void).
        palette: What counts where there is one: ``ids``, ``colors``, or with ``auto`` the colours
            if all that are in use are those of classes, and the ids if no colour speaks against.
        unknown_is_void: Turn colours of no class to void with a remark.
        unknown_ids_are_void: The same for ids.

    Returns:
        (H, W) uint8 class ids, and remarks.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is broken, holds an unknown id or colour, or ids and colours of its
            palette contradict each other.
    """
    mask, found = load_mask_and_palette(path)
    if found is not None and palette == 'auto':
        palette = 'colors' if _colors_decide(mask, found, ids, colors, path) else 'ids'
    if found is not None and palette == 'colors':
        if mask.max() >= len(found):
            raise ValueError(f'{path}: id {mask.max()} is behind its palette of {len(found)}')
        mask = found[mask]
    if found is None and palette != 'colors' and mask.ndim == 3 and _holds_ids(mask, colors):
        mask = np.ascontiguousarray(mask[..., 0])
    if mask.ndim == 3:
        return map_colors(mask, colors, path, unknown_is_void=unknown_is_void)
    return map_ids(mask, ids, path, unknown_is_void=unknown_ids_are_void)


def _holds_ids(mask_hwc: np.ndarray, colors: Mapping[Color, int]) -> bool:
    """Whether colours are greys that no class has: ids that a program saved in three channels."""
    grey = mask_hwc[..., 0]
    if not ((mask_hwc[..., 1] == grey).all() and (mask_hwc[..., 2] == grey).all()):
        return False
    return any((value, value, value) not in colors for value in np.unique(grey).tolist())


def _colors_decide(
    mask_hw: np.ndarray,
    palette: np.ndarray,
    ids: Mapping[int, int],
    colors: Mapping[Color, int],
    path: Path,
) -> bool:
    """Whether the colours name the classes; false also where ids and colours say the same."""
    used = np.unique(mask_hw).tolist()
    found = {index: _color_of(palette, index) for index in used}
    by_color = {i: colors.get(color) if color else None for i, color in found.items()}
    by_id = {index: ids.get(index, VOID_ID if index == VOID_ID else None) for index in used}
    wrong = [i for i in used if by_color[i] is not None and by_color[i] != by_id[i]]
    if not wrong:
        return False
    if all(by_color[index] is not None for index in used):
        return True
    strange = next(i for i in used if by_color[i] is None and i < len(palette))
    raise ValueError(
        f'{path}: its palette contradicts the classes: index {wrong[0]} has the colour of class '
        f'id {by_color[wrong[0]]}, {found[wrong[0]]}, and index {strange} has a colour of no '
        f'class, {tuple(palette[strange].tolist())}. Say what counts with '
        'dataset_options={palette: ids} or {palette: colors}, or save the masks without a palette'
    )


def _color_of(palette: np.ndarray, index: int) -> Color | None:
    """The colour of an index; None for a repeated one, as in a palette that nobody filled."""
    if index >= len(palette) or (palette[:index] == palette[index]).all(axis=1).any():
        return None
    red, green, blue = palette[index].tolist()
    return red, green, blue
