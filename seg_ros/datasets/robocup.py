"""RoboCup soccer from labelled photographs: background, ball, line, field.

Two ways to store masks are read, told apart by the folders:

* ids: ``images/`` and ``labels/`` (or ``masks/``) with 0 background, 1 ball, 2 line, 3 field, as
  the NimbRo team's nets use them (arXiv:1810.08395, arXiv:1912.07405);
* TORSO-21 (Bestmann et al., RoboCup 2021): ``images/`` and ``segmentations/`` with grey values
  0 background, 127 line, 255 field; balls are not marked in them.

A split is a folder below ``folder`` that holds these folders (``train/images``), as TORSO-21 has.
"""

from __future__ import annotations

from pathlib import Path

from seg_ros.datasets.image_files import (
    MASK_SUFFIXES,
    build_sample,
    find_images,
    map_ids,
)
from seg_ros.datasets.sample import Sample
from seg_ros.image_files import load_mask
from seg_ros.model_card import ClassInfo
from seg_ros.scenes.labels import BACKGROUND, BALL, FIELD, LINE, SCENE_CLASSES

IDS = {BACKGROUND: BACKGROUND, BALL: BALL, LINE: LINE, FIELD: FIELD}
# 126 and 254 come from halving and adding bytes in the tools that made some of the masks.
GREY = {0: BACKGROUND, 126: LINE, 127: LINE, 128: LINE, 254: FIELD, 255: FIELD}
_MASK_FOLDERS = {'labels': IDS, 'masks': IDS, 'segmentations': GREY}


class RoboCup:
    """Photographs of a pitch with masks.

    Args:
        folder: Holds ``images`` and a folder of masks, or splits that do.
        split: ``all`` for images directly in ``folder``, or the name of a split.
        with_ball: Whether the ball is a class; without it a ball is field, on which it lies.

    Raises:
        FileNotFoundError: If a folder or a mask is missing.
    """

    classes: tuple[ClassInfo, ...]
    names: tuple[str, ...]

    def __init__(self, folder: Path, split: str = 'all', with_ball: bool = True) -> None:
        root = folder if split == 'all' else folder / split
        kinds = [name for name in _MASK_FOLDERS if (root / name).is_dir()]
        if not (root / 'images').is_dir() or not kinds:
            inside = sorted(path.name for path in folder.glob('*/')) if folder.is_dir() else []
            raise FileNotFoundError(
                f'{root} needs the folder images and one of {", ".join(_MASK_FOLDERS)}; '
                f'{folder} holds {inside}. A split is the name of such a folder.'
            )
        self._table = dict(_MASK_FOLDERS[kinds[0]])
        self.classes = tuple(entry for entry in SCENE_CLASSES[:4] if with_ball or entry.id != BALL)
        if not with_ball:
            self._table = {k: FIELD if v == BALL else v for k, v in self._table.items()}
        masks = {path.stem: path for path in find_images(root / kinds[0], MASK_SUFFIXES)}
        images = find_images(root / 'images')
        self._pairs = [(path, masks[path.stem]) for path in images if path.stem in masks]
        without = [path.name for path in images if path.stem not in masks]
        self.remarks = (
            (f'{len(without)} images have no mask and are left out, such as {without[0]}',)
            if without
            else ()
        )
        self.names = tuple(image.name for image, _ in self._pairs)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read sample ``index``; raises ``ValueError`` for a broken file or an unknown value."""
        image, path = self._pairs[index]
        mask = load_mask(path)
        if mask.ndim == 3 and (mask == mask[:, :, :1]).all():  # grey stored as three channels
            mask = mask[:, :, 0]
        labels, remarks = map_ids(mask, self._table, path)
        return build_sample(image, labels, self.names[index], remarks)
