"""What a robot's owner makes of the labels: other classes, no specks, no own body.

Everything here works on label images at the camera's size and is off unless asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from seg_ros.image_files import load_grey
from seg_ros.model_card import MAX_CLASSES, VOID_ID, ClassInfo
from seg_ros.schema import quoted
from seg_ros.spots import connected_spots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

EVERY_CLASS = 'all'
VOID = 'void'
_NUMBER = re.compile(r'[+-]?[0-9]{1,9}')


@dataclass(frozen=True)
class ClassMap:
    """The classes that are published, and how the model's labels become theirs.

    Attributes:
        classes: In the order of their ids.
        table: (256,) uint8, new id of every old one; None where nothing changes.
    """

    classes: tuple[ClassInfo, ...]
    table: np.ndarray | None


def parse_mapping(name: str, entries: Sequence[str]) -> dict[str, str | int]:
    """Read a setting such as ``['line: field', 'ball: 3']``.

    Args:
        name: Of the setting, for the message.
        entries: ``key: value`` each; a value of digits is a number.

    Raises:
        ValueError: If an entry is of another form, or two have the same key.
    """
    if len(entries) > MAX_CLASSES:
        raise ValueError(f'{name}: {len(entries)} entries; allowed are {MAX_CLASSES}')
    found: dict[str, str | int] = {}
    for entry in entries:
        key, _, value = (part.strip() for part in entry.partition(':'))
        if not key or not value or ':' in value:
            raise ValueError(f"{name}: {quoted(entry)} is not of the form 'class: value'")
        if key in found:
            raise ValueError(f'{name}: {quoted(key)} comes twice')
        found[key] = int(value) if _NUMBER.fullmatch(value) else value
    return found


def remap_classes(classes: tuple[ClassInfo, ...], remap: Mapping[str, str | int]) -> ClassMap:
    """Merge, drop, rename and renumber classes.

    Args:
        classes: Those of the model.
        remap: Class name -> another class of the model (merge into it), a new name (rename, or
            gather several), a number 0 to 254 (publish under this id), or ``void`` (drop: its
            pixels become 255). A new name may be numbered as well.

    Raises:
        ValueError: If a key is no class, a target is none of these, or two classes would share
            an id.
    """
    if not remap:
        return ClassMap(classes, None)
    target = {entry.name: entry.name for entry in classes}
    numbers: dict[str, int] = {}
    for name, to in remap.items():
        if isinstance(to, int):
            numbers[name] = to
        elif name not in target:
            known = ', '.join(target)
            raise ValueError(f'class_remap: no class {quoted(name)}; there are {known}')
        else:
            target[name] = to
    kept = _merged(classes, target, numbers)
    if unknown := sorted(numbers.keys() - kept.keys()):
        known = ', '.join(kept)
        raise ValueError(f'class_remap: no class {quoted(unknown[0])} to number; left are {known}')
    table = np.full(256, VOID_ID, np.uint8)
    for entry in classes:
        if target[entry.name] != VOID:
            table[entry.id] = kept[target[entry.name]].id
    return ClassMap(tuple(sorted(kept.values(), key=lambda entry: entry.id)), table)


def _merged(
    classes: tuple[ClassInfo, ...], target: Mapping[str, str], numbers: Mapping[str, int]
) -> dict[str, ClassInfo]:
    """What is left, by name; a class that others merge into keeps its id and colour."""
    kept: dict[str, ClassInfo] = {}
    for entry in classes:
        name = target[entry.name]
        if name == VOID:
            continue
        if target.get(name, name) != name:
            raise ValueError(
                f'class_remap: {entry.name} goes to {name}, which goes to {target[name]} itself; '
                f'name where {entry.name} ends up'
            )
        if name not in kept or entry.name == name:
            kept[name] = replace(entry, name=name)
    kept = {name: replace(entry, id=numbers.get(name, entry.id)) for name, entry in kept.items()}
    if not kept:
        raise ValueError('class_remap: drops every class')
    by_id: dict[int, str] = {}
    for name, entry in kept.items():
        if (other := by_id.setdefault(entry.id, name)) != name:
            raise ValueError(f'class_remap: {other} and {name} would share the id {entry.id}')
    return kept


def areas_by_id(
    classes: tuple[ClassInfo, ...], min_area_px: Mapping[str, str | int]
) -> dict[int, int]:
    """Turn class names into ids: smallest area in pixels of a spot of each class.

    Args:
        classes: Those that are published.
        min_area_px: Class name, or ``all`` for those not named, -> pixels.

    Raises:
        ValueError: For an unknown class or a wrong number.
    """
    names = [entry.name for entry in classes]
    for name, area in min_area_px.items():
        if name not in names and name != EVERY_CLASS:
            known = ', '.join([*names, EVERY_CLASS])
            raise ValueError(f'min_area_px: no class {quoted(name)}; there are {known}')
        if not isinstance(area, int) or area < 0:
            raise ValueError(f'min_area_px: {name}: {quoted(area)} is no number of pixels')
    common = min_area_px.get(EVERY_CLASS, 0)
    areas = {entry.id: int(min_area_px.get(entry.name, common)) for entry in classes}
    return {label: area for label, area in areas.items() if area > 1}


def remove_specks(labels_hw: np.ndarray, areas: Mapping[int, int]) -> None:
    """Make spots of a class that are smaller than its area void, in place.

    Args:
        labels_hw: (H, W) uint8 class ids.
        areas: Class id -> smallest area in pixels that stays; pixels touch by side or corner.
    """
    for label, area in areas.items():
        spots, stats = connected_spots(labels_hw, label)
        small = stats[:, cv2.CC_STAT_AREA] < area
        small[0] = False  # everything that is not this class
        if small.any():
            labels_hw[small[spots]] = VOID_ID


def load_self_mask(path: Path) -> np.ndarray:
    """Read the picture of the robot's own body: (H, W) bool, true where it is.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no image.
    """
    try:
        return load_grey(path) > 0
    except FileNotFoundError:
        raise FileNotFoundError(f'self_mask: no file {path}') from None
    except ValueError as error:
        raise ValueError(f'self_mask: {error}; give a PNG, non-zero = the robot') from error


class Postprocessor:
    """The chosen steps on the labels of one camera, in this order: remap, specks, region, body.

    Args:
        classes: The classes of the model.
        remap: See ``remap_classes``.
        min_area_px: See ``areas_by_id``; names are those after the remap.
        roi: Column, row, width and height in pixels of what is looked at; outside is void. Width
            or height 0: to the edge of the image.
        self_mask: From ``load_self_mask``; of another size it is scaled to the labels.

    Raises:
        ValueError: If a class is unknown.
    """

    def __init__(
        self,
        classes: tuple[ClassInfo, ...],
        *,
        remap: Mapping[str, str | int] | None = None,
        min_area_px: Mapping[str, str | int] | None = None,
        roi: tuple[int, int, int, int] = (0, 0, 0, 0),
        self_mask: np.ndarray | None = None,
    ) -> None:
        self._map = remap_classes(classes, remap or {})
        self.classes = self._map.classes
        self._areas = areas_by_id(self.classes, min_area_px or {})
        self._roi = roi
        self._self_mask = self_mask
        self._body_at_size = self_mask

    def apply(self, labels_hw: np.ndarray) -> np.ndarray:
        """Do what was asked for.

        Args:
            labels_hw: (H, W) uint8 ids of the model; may be changed.

        Returns:
            (H, W) uint8 ids of ``classes``; ``labels_hw`` itself where nothing is to be done.
        """
        if self._map.table is not None:
            labels_hw = cv2.LUT(labels_hw, self._map.table)
        if self._areas:
            remove_specks(labels_hw, self._areas)
        if any(self._roi):
            _keep_region(labels_hw, self._roi)
        if self._self_mask is not None:
            labels_hw[self._body(labels_hw.shape)] = VOID_ID
        return labels_hw

    def _body(self, shape_hw: tuple[int, ...]) -> np.ndarray:
        """The self mask at the size of the labels, scaled from the picture itself."""
        assert self._self_mask is not None
        assert self._body_at_size is not None
        if self._body_at_size.shape != shape_hw:
            size = (shape_hw[1], shape_hw[0])
            scaled = cv2.resize(
                self._self_mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST
            )
            self._body_at_size = scaled.view(bool)
        return self._body_at_size


def _keep_region(labels_hw: np.ndarray, roi: tuple[int, int, int, int]) -> None:
    left, top, width, height = roi
    right = left + width if width else labels_hw.shape[1]
    bottom = top + height if height else labels_hw.shape[0]
    labels_hw[:top] = VOID_ID
    labels_hw[bottom:] = VOID_ID
    labels_hw[top:bottom, :left] = VOID_ID
    labels_hw[top:bottom, right:] = VOID_ID
