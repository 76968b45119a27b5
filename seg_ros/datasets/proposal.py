"""A ``classes.yaml`` for masks that have none: what they hold, to be given names."""

from __future__ import annotations

import colorsys
from collections import Counter
from pathlib import Path

import numpy as np

from seg_ros.datasets.folder import label_folder
from seg_ros.datasets.image_files import MASK_SUFFIXES, find_images
from seg_ros.image_files import load_mask_and_palette
from seg_ros.model_card import VOID_ID

MAX_MASKS = 200  # looked at, evenly spaced
MAX_VALUES = 64

Value = int | tuple[int, ...]


def propose_classes(folder: Path) -> str:
    """Write down the values or colours of a folder's masks as a ``classes.yaml``.

    Args:
        folder: As ``folder.Folder`` takes it, without ``classes.yaml``.

    Returns:
        The text, with the share of each class in a comment.

    Raises:
        FileNotFoundError: If there is no mask.
        ValueError: If a mask is broken, or they hold one value or very many.
    """
    masks = find_images(label_folder(folder), MASK_SUFFIXES)
    if not masks:
        raise FileNotFoundError(f'{label_folder(folder)} holds no mask')
    shown = masks[:: -(-len(masks) // MAX_MASKS)]
    counts: Counter[Value] = Counter()
    colors: dict[Value, tuple[int, ...]] = {}
    for path in shown:
        mask, palette = load_mask_and_palette(path)
        if mask.ndim == 3 and (mask == mask[..., :1]).all():
            mask = mask[..., 0]
        found, pixels = np.unique(mask.reshape(-1, *mask.shape[2:]), axis=0, return_counts=True)
        for each, count in zip(found.tolist(), pixels.tolist(), strict=True):
            value: Value = tuple(each) if isinstance(each, list) else int(each)
            counts[value] += count
            if isinstance(value, tuple):
                colors[value] = value
            elif palette is not None and value < len(palette):
                colors[value] = tuple(palette[value].tolist())
    if len({isinstance(value, tuple) for value in counts}) > 1:
        raise ValueError(f'{label_folder(folder)} holds masks of ids and masks of colours')
    if not 2 <= len(counts) <= MAX_VALUES:
        raise ValueError(
            f'the masks of {label_folder(folder)} hold {len(counts)} values; a list of classes '
            f'has 2 to {MAX_VALUES}. Many values come of JPEG or of scaling: save masks as PNG'
        )
    return _text(counts, colors, len(shown))


def _text(counts: Counter[Value], colors: dict[Value, tuple[int, ...]], masks: int) -> str:
    total = counts.total()
    values = sorted(counts, key=lambda v: -counts[v] if isinstance(v, tuple) else v)
    has_void = VOID_ID in counts and len(counts) > 2  # alone beside another it is a class
    classes = [value for value in values if not (has_void and value == VOID_ID)]
    own = [colors.get(value) for value in classes]
    if None in own or len(set(own)) < len(own):  # no palette, or one that nobody filled
        own = [_color(index, len(classes)) for index in range(len(classes))]
    lines = [f'# proposed from {masks} masks: give the classes their names', 'classes:']
    for index, (value, color) in enumerate(zip(classes, own, strict=True)):
        is_id = isinstance(value, int) and value < VOID_ID
        entry = f'id: {value if is_id else index}, name: class_{value if is_id else index}'
        entry += f', color: {list(color or ())}'
        entry += f', values: [{value}]' if isinstance(value, int) and not is_id else ''
        lines.append(f'- {{{entry}}}  # {100 * counts[value] / total:.2f} % of the pixels')
    if has_void:
        share = 100 * counts[VOID_ID] / total
        lines.append(f'# {VOID_ID} is void: {share:.2f} % of the pixels')
    return '\n'.join([*lines, ''])


def _color(index: int, count: int) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(index / count, 0.8, 1))
