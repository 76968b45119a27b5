"""Files of a data set: lists of them, and masks of colours or foreign ids to class ids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from seg_ros.datasets.sample import Sample
from seg_ros.image_files import is_turned, load_image
from seg_ros.model_card import VOID_ID

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.ppm', '.tif', '.tiff')
MASK_SUFFIXES = ('.png', '.bmp', '.tif', '.tiff', '.pgm', '.ppm', '.jpg', '.jpeg', '.webp')
LOSSY_SUFFIXES = ('.jpg', '.jpeg', '.webp')

Color = tuple[int, int, int]


def map_ids(
    mask_hw: np.ndarray, table: Mapping[int, int], path: Path, *, unknown_is_void: bool = False
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Replace the ids of a mask.

    Args:
        mask_hw: (H, W) of any integer type.
        table: Stored id -> class id (255 for void); 255 stands for void unless it is listed.
        path: For messages.
        unknown_is_void: Turn ids that the table lacks to void with a remark instead of failing.

    Returns:
        (H, W) uint8 class ids, and remarks.

    Raises:
        ValueError: If the mask is no (H, W) integer array or holds an id that the table lacks.
    """
    if mask_hw.ndim != 2 or mask_hw.dtype.kind not in 'ui':
        raise ValueError(
            f'{path}: expected one channel of ids, got {mask_hw.shape} {mask_hw.dtype}; '
            'if it is a mask of colours, say so in the options of the dataset'
        )
    full = {VOID_ID: VOID_ID, **table}
    found = _distinct_ids(mask_hw)
    unknown = [int(value) for value in found if int(value) not in full]
    remarks = _lossy_remark(path)
    if unknown:
        message = (
            f'{path}: ids {_shorten(unknown)} belong to no class; '
            f'known are {_shorten(sorted(full))}{_lossy_hint(path)}'
        )
        if not unknown_is_void:
            raise ValueError(f'{message}. Add them to the classes or declare them void.')
        remarks = (f'{message}; they became void',)
    if mask_hw.dtype == np.uint8:
        lookup = np.full(256, VOID_ID, np.uint8)
        for stored, class_id in full.items():
            if 0 <= stored <= 255:
                lookup[stored] = class_id
        return lookup[mask_hw], remarks
    labels = np.full(mask_hw.shape, VOID_ID, np.uint8)
    for value in found:
        labels[mask_hw == value] = full.get(int(value), VOID_ID)
    return labels, remarks


def map_colors(
    mask_hwc: np.ndarray, table: Mapping[Color, int], path: Path, *, unknown_is_void: bool = False
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Turn a mask of colours into class ids.

    Args:
        mask_hwc: (H, W, 3) uint8 RGB.
        table: (red, green, blue) -> class id (255 for void).
        path: For messages.
        unknown_is_void: Turn colours that the table lacks to void with a remark.

    Returns:
        (H, W) uint8 class ids, and remarks.

    Raises:
        ValueError: If the mask is not (H, W, 3) or holds a colour that the table lacks.
    """
    if mask_hwc.ndim != 3 or mask_hwc.shape[2] != 3 or mask_hwc.dtype != np.uint8:
        raise ValueError(
            f'{path}: expected a mask of colours (H, W, 3) uint8, got {mask_hwc.shape} '
            f'{mask_hwc.dtype}; if it holds ids, say so in the options of the dataset'
        )
    codes = _codes(mask_hwc)
    known = np.array(sorted(_code(color) for color in table), np.uint32)
    class_of = {_code(color): class_id for color, class_id in table.items()}
    targets = np.array([class_of[int(code)] for code in known], np.uint8)
    position = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    hit = known[position] == codes
    labels = np.where(hit, targets[position], np.uint8(VOID_ID)).astype(np.uint8)
    if hit.all():
        return labels, _lossy_remark(path)
    missing, counts = np.unique(codes[~hit], return_counts=True)
    worst = missing[np.argsort(-counts)]
    colors = [(int(c) >> 16, int(c) >> 8 & 255, int(c) & 255) for c in worst[:5]]
    message = (
        f'{path}: {len(missing)} colours on {int(counts.sum())} pixels belong to no class, '
        f'such as {_shorten(colors)}{_lossy_hint(path)}'
    )
    if not unknown_is_void:
        raise ValueError(f'{message}. Add them to the classes or declare them void.')
    return labels, (f'{message}; they became void',)


def build_sample(
    image_path: Path, labels_hw: np.ndarray, name: str, remarks: Iterable[str] = ()
) -> Sample:
    """Read the image that belongs to labels and check that they fit.

    Raises:
        ValueError: If the sizes differ; the message names the image and both sizes.
    """
    image = load_image(image_path)
    if image.shape[:2] != labels_hw.shape:
        turned = ' once it is turned as its EXIF says' if is_turned(image_path) else ''
        raise ValueError(
            f'{image_path} has (rows, columns) {image.shape[:2]}{turned} and its mask '
            f'{labels_hw.shape}; make the mask again at the size of the image (never resize a '
            'mask smoothly)'
        )
    return Sample(image, labels_hw, name, tuple(remarks))


def find_images(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """List the images below a folder, in natural order: neighbours of a video stay neighbours.

    Raises:
        FileNotFoundError: If the folder does not exist.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'folder {folder} does not exist')
    found = (p for p in folder.rglob('*') if p.suffix.lower() in suffixes and p.is_file())
    return sorted(found, key=natural_order)


def natural_order(path: Path) -> tuple[tuple[tuple[str, int], ...], ...]:
    """Sort key that puts frame 2 before frame 10: numbers in a name count as numbers."""
    return tuple(
        tuple((text, int(number or -1)) for text, number in re.findall(r'(\D*)(\d*)', part))
        for part in (*path.parent.parts, path.stem, path.suffix)
    )


def load_list(path: Path) -> list[str]:
    """Read the lines of a list file that are neither empty nor comments.

    Raises:
        FileNotFoundError: If the file does not exist.
    """
    if not path.is_file():
        raise FileNotFoundError(f'list file {path} does not exist')
    lines = (line.strip() for line in path.read_text(encoding='utf-8').splitlines())
    return [line for line in lines if line and not line.startswith('#')]


def check_split(split: str, allowed: Iterable[str]) -> None:
    """Refuse an unknown split.

    Raises:
        ValueError: Naming the split and those there are.
    """
    names = list(allowed)
    if split not in names:
        raise ValueError(f'unknown split {split!r}; available: {", ".join(names)}')


def _distinct_ids(mask_hw: np.ndarray) -> np.ndarray:
    if mask_hw.dtype == np.uint8:  # ten times as fast as sorting
        return np.flatnonzero(np.bincount(mask_hw.ravel(), minlength=256))
    return np.unique(mask_hw)


def _codes(mask_hwc: np.ndarray) -> np.ndarray:
    wide = mask_hwc.astype(np.uint32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _code(color: Color) -> int:
    return int(color[0]) << 16 | int(color[1]) << 8 | int(color[2])


def _lossy_hint(path: Path) -> str:
    if path.suffix.lower() in LOSSY_SUFFIXES:
        return ' (a lossy format changes values: store masks as PNG)'
    return ''


def _lossy_remark(path: Path) -> tuple[str, ...]:
    hint = _lossy_hint(path)
    return (f'{path}: the mask may be damaged{hint}',) if hint else ()


def _shorten(values: list[object] | list[int] | list[Color]) -> str:
    shown = ', '.join(map(str, values[:12]))
    return f'{shown}, ...' if len(values) > 12 else shown
