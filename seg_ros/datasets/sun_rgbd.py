"""SUN RGB-D: indoor scenes, 37 classes, 5,285 training and 5,050 test images.

Source: Song, Lichtenberg, Xiao, "SUN RGB-D: A RGB-D Scene Understanding Benchmark Suite", CVPR
2015. Labels hold 0 for unlabelled and 1 to 37. Two layouts that others made of it are read:

* ``train37.txt`` and ``test37.txt``, each line "<image> <depth> <labels>", paths in the folder;
* ``SUNRGBD-train_images/img-000001.jpg``, ``SUNRGBD-test_images/...`` and
  ``sunrgbd_train_test_labels/img-000001.png``, whose first 5,050 are the test images.
"""

from __future__ import annotations

import colorsys
from pathlib import Path

from seg_ros.datasets.image_files import (
    build_sample,
    check_split,
    find_images,
    load_list,
    map_ids,
)
from seg_ros.datasets.sample import Sample
from seg_ros.image_files import load_mask
from seg_ros.model_card import VOID_ID, ClassInfo

NUM_TEST = 5050
_NAMES = (
    *('wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window', 'bookshelf'),
    *('picture', 'counter', 'blinds', 'desk', 'shelves', 'curtain', 'dresser', 'pillow', 'mirror'),
    *('floor_mat', 'clothes', 'ceiling', 'books', 'fridge', 'tv', 'paper', 'towel'),
    *('shower_curtain', 'box', 'whiteboard', 'person', 'night_stand', 'toilet', 'sink', 'lamp'),
    *('bathtub', 'bag'),
)


def _spread_color(index: int) -> tuple[int, int, int]:
    """A colour unlike its neighbours': hues a golden angle apart, two levels of brightness."""
    value = 1.0 if index % 2 else 0.65
    red, green, blue = colorsys.hsv_to_rgb(index * 0.381966 % 1, 0.75, value)
    return round(red * 255), round(green * 255), round(blue * 255)


CLASSES = tuple(ClassInfo(i, name, _spread_color(i)) for i, name in enumerate(_NAMES))
_STORED = {0: VOID_ID} | {i + 1: i for i in range(len(_NAMES))}


class SunRgbd:
    """One split of the indoor scenes.

    Args:
        folder: Holds one of the layouts above.
        split: ``train``, ``test`` or ``all``.

    Raises:
        FileNotFoundError: If the folder has neither layout.
        ValueError: If the split is unknown.
    """

    classes = CLASSES
    names: tuple[str, ...]

    def __init__(self, folder: Path, split: str = 'all') -> None:
        check_split(split, ('train', 'test', 'all'))
        self._pairs: list[tuple[Path, Path]] = []
        for each in ('train', 'test') if split == 'all' else (split,):
            listed = folder / f'{each}37.txt'
            self._pairs += (
                _pairs_of_list(folder, listed) if listed.is_file() else _pairs(folder, each)
            )
        self.names = tuple(f'{image.parent.name}/{image.stem}' for image, _ in self._pairs)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read sample ``index``; raises ``ValueError`` for a broken file or an unknown value."""
        image, path = self._pairs[index]
        labels, remarks = map_ids(load_mask(path), _STORED, path)
        return build_sample(image, labels, self.names[index], remarks)


def _pairs_of_list(folder: Path, listed: Path) -> list[tuple[Path, Path]]:
    pairs = []
    for line in load_list(listed):
        parts = line.split()
        if len(parts) != 3:
            raise ValueError(f'{listed}: expected "<image> <depth> <labels>", got {line!r}')
        pairs.append((folder / parts[0], folder / parts[2]))
    return pairs


def _pairs(folder: Path, split: str) -> list[tuple[Path, Path]]:
    labels = folder / 'sunrgbd_train_test_labels'
    if not labels.is_dir():
        raise FileNotFoundError(
            f'{folder} is no SUN RGB-D: it has neither {split}37.txt nor {labels.name}'
        )
    first = NUM_TEST if split == 'train' else 0
    pairs = []
    for image in find_images(folder / f'SUNRGBD-{split}_images', ('.jpg',)):
        number = int(image.stem.rpartition('-')[2]) + first
        pairs.append((image, labels / f'img-{number:06d}.png'))
    return pairs
