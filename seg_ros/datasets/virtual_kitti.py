"""Virtual KITTI: rendered drives through the worlds of KITTI, 14 classes.

Sources: Gaidon et al., "Virtual Worlds as Proxy for Multi-Object Tracking Analysis", CVPR 2016
(version 1.3.1); Cabon, Murray, Humenberger, arXiv:2001.10773 (version 2). Layouts:

* 1.3.1: ``vkitti_1.3.1_rgb/<world>/<variation>/<frame>.png``, ``vkitti_1.3.1_scenegt/...`` alike,
  and ``vkitti_1.3.1_scenegt/<world>_<variation>_scenegt_rgb_encoding.txt``. Cars and vans have a
  colour per instance there (``Car:12 200 200 199``); the class is what stands before the colon.
* 2: ``<scene>/<variation>/frames/rgb/<camera>/rgb_<frame>.jpg``,
  ``.../classSegmentation/<camera>/classgt_<frame>.png`` and ``<scene>/<variation>/colors.txt``;
  the archives are unpacked into one folder, or each into its own ``vkitti_2*`` folder.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from seg_ros.datasets.image_files import (
    Color,
    build_sample,
    check_split,
    load_list,
    natural_order,
)
from seg_ros.datasets.label_files import load_labels
from seg_ros.datasets.sample import Sample
from seg_ros.model_card import VOID_ID, ClassInfo

_NAMES_COLORS = (
    ('GuardRail', 'guard_rail', (255, 100, 255)),
    ('Building', 'building', (140, 140, 140)),
    ('Car', 'car', (200, 200, 200)),
    ('Pole', 'pole', (255, 130, 0)),
    ('Van', 'van', (230, 208, 202)),
    ('TrafficLight', 'traffic_light', (200, 200, 0)),
    ('Road', 'road', (100, 60, 100)),
    ('Vegetation', 'vegetation', (90, 240, 0)),
    ('Misc', 'misc', (80, 80, 80)),
    ('Tree', 'tree', (0, 199, 0)),
    ('Terrain', 'terrain', (210, 0, 200)),
    ('TrafficSign', 'traffic_sign', (255, 255, 0)),
    ('Truck', 'truck', (160, 60, 60)),
    ('Sky', 'sky', (90, 200, 255)),
)
CLASSES = tuple(ClassInfo(i, name, color) for i, (_, name, color) in enumerate(_NAMES_COLORS))
_ID_OF = {stored: i for i, (stored, _, _) in enumerate(_NAMES_COLORS)} | {'Undefined': VOID_ID}


class VirtualKitti:
    """Frames of some worlds and variations, in the order of the drives.

    Args:
        folder: Holds one of the layouts above.
        split: ``all``; divide it with ``split.mode=blocked``, neighbouring frames are alike.
        worlds: Worlds (``0001``) or scenes (``Scene01``); every one when empty.
        variations: ``clone``, ``sunset``, ...; every one when empty.
        camera: Of version 2: ``Camera_0`` or ``Camera_1``.

    Raises:
        FileNotFoundError: If no frame is found or an encoding file is missing.
        ValueError: If the split is unknown.
    """

    classes = CLASSES
    names: tuple[str, ...]

    def __init__(
        self,
        folder: Path,
        split: str = 'all',
        worlds: tuple[str, ...] | list[str] = (),
        variations: tuple[str, ...] | list[str] = (),
        camera: str = 'Camera_0',
    ) -> None:
        check_split(split, ('all',))
        found = _frames_1(folder) or _frames_2(folder, camera)
        chosen = [
            frame
            for frame in found
            if (not worlds or frame[0] in worlds) and (not variations or frame[1] in variations)
        ]
        if not chosen:
            have = sorted({frame[:2] for frame in found})
            raise FileNotFoundError(
                f'no frame of Virtual KITTI in {folder} for worlds {list(worlds)} and variations '
                f'{list(variations)}; there are {have[:20]}'
            )
        self._frames = chosen
        self.names = tuple(f'{world}/{kind}/{image.stem}' for world, kind, image, _, _ in chosen)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._frames)

    def __getitem__(self, index: int) -> Sample:
        """Read sample ``index``; colours that the encoding lacks become void with a remark."""
        _, _, image, mask, encoding = self._frames[index]
        colors = load_encoding(encoding)
        labels, remarks = load_labels(mask, {}, colors, palette='colors', unknown_is_void=True)
        return build_sample(image, labels, self.names[index], remarks)


Frame = tuple[str, str, Path, Path, Path]  # world, variation, image, mask, encoding


def _frames_1(folder: Path) -> list[Frame]:
    images = sorted(folder.glob('vkitti_1*_rgb/*/*/*.png'), key=natural_order)
    frames = []
    for image in images:
        world, variation = image.parts[-3:-1]
        truth = image.parents[3] / image.parents[2].name.replace('_rgb', '_scenegt')
        encoding = truth / f'{world}_{variation}_scenegt_rgb_encoding.txt'
        frames.append((world, variation, image, truth / world / variation / image.name, encoding))
    return frames


def _frames_2(folder: Path, camera: str) -> list[Frame]:
    pattern = f'Scene*/*/frames/rgb/{camera}/rgb_*.jpg'
    found = [*folder.glob(pattern)] or folder.glob(f'vkitti_2*_rgb/{pattern}')
    images = sorted(found, key=natural_order)
    frames = []
    for image in images:
        scene, variation = image.parts[-6], image.parts[-5]
        inside = Path(scene) / variation
        root = image.parents[5]
        mask = inside / 'frames' / 'classSegmentation' / camera
        mask /= f'{image.stem.replace("rgb_", "classgt_")}.png'
        if root == folder:
            frames.append((scene, variation, image, root / mask, root / inside / 'colors.txt'))
            continue
        version = root.name.removesuffix('_rgb')
        truth, texts = folder / f'{version}_classSegmentation', folder / f'{version}_textgt'
        frames.append((scene, variation, image, truth / mask, texts / inside / 'colors.txt'))
    return frames


@lru_cache(maxsize=256)
def load_encoding(path: Path) -> dict[Color, int]:
    """Read an encoding file: colour -> class id.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If a line is not ``<category>[:<instance>] <red> <green> <blue>``.
    """
    table: dict[Color, int] = {}
    for line in load_list(path):
        category, *values = line.split()
        if category.startswith('Category'):
            continue
        name = category.partition(':')[0]
        if len(values) != 3 or name not in _ID_OF:
            raise ValueError(f'{path}: {line!r} is no "<category>[:<instance>] <r> <g> <b>"')
        red, green, blue = map(int, values)
        table[red, green, blue] = _ID_OF[name]
    if not table:
        raise ValueError(f'{path} lists no colour')
    return table
