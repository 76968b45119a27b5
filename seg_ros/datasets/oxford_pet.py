"""Oxford-IIIT Pet: cats and dogs with trimaps: pet, background, border.

Source: Parkhi, Vedaldi, Zisserman, Jawahar, "Cats and Dogs", CVPR 2012. Layout of the archives:
``images/<name>.jpg``, ``annotations/trimaps/<name>.png`` with 1 pet, 2 background, 3 border, and
``annotations/trainval.txt``, ``annotations/test.txt`` whose lines start with a name.
"""

from __future__ import annotations

from pathlib import Path

from seg_ros.datasets.image_files import (
    build_sample,
    check_split,
    load_list,
    map_ids,
)
from seg_ros.datasets.sample import Sample
from seg_ros.image_files import load_mask
from seg_ros.model_card import ClassInfo

CLASSES = (
    ClassInfo(0, 'pet', (220, 120, 60)),
    ClassInfo(1, 'background', (40, 40, 40)),
    ClassInfo(2, 'border', (250, 250, 120)),
)
_STORED = {1: 0, 2: 1, 3: 2}


class OxfordPet:
    """One split of the pets.

    Args:
        folder: Holds ``images`` and ``annotations``.
        split: ``trainval`` (3,680 images), ``test`` (3,669), or ``all``.

    Raises:
        FileNotFoundError: If a list file is missing.
        ValueError: If the split is unknown.
    """

    classes = CLASSES
    names: tuple[str, ...]

    def __init__(self, folder: Path, split: str = 'all') -> None:
        check_split(split, ('trainval', 'test', 'all'))
        lists = ('trainval', 'test') if split == 'all' else (split,)
        self._folder = folder
        self.names = tuple(
            line.split()[0]
            for each in lists
            for line in load_list(folder / 'annotations' / f'{each}.txt')
        )

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Read sample ``index``; raises ``ValueError`` for a broken file or an unknown value."""
        name = self.names[index]
        path = self._folder / 'annotations' / 'trimaps' / f'{name}.png'
        labels, remarks = map_ids(load_mask(path), _STORED, path)
        return build_sample(self._folder / 'images' / f'{name}.jpg', labels, name, remarks)
