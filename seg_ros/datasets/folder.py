"""The general case: a folder with images, masks and a list of classes.

::

    <folder>/classes.yaml
    <folder>/images/[<split>/]<name>.jpg     any of IMAGE_SUFFIXES
    <folder>/labels/[<split>/]<name>.png     ids, ids behind a palette, greys, or colours
    <folder>/train.txt  val.txt              optional: names of images, one per line

``labels`` may be called ``masks``, ``annotations`` or ``segmentations``, and a mask
``<name>_mask``, ``_label``, ``_labels``, ``_gt`` or ``_seg``.

``classes.yaml``, where ``values`` are the values of the masks that mean a class, if they are not
its id::

    classes:
      - {id: 0, name: background, color: [0, 0, 0]}
      - {id: 1, name: ball, color: [255, 128, 0]}
      - {id: 2, name: line, color: [255, 255, 255], values: [128, 255]}
    void_ids: [11]              # stored ids that are no class; 255 always is void
    void_colors: [[1, 2, 3]]    # the same for masks of colours
    unknown: void               # any other value or colour is void, too, instead of an error
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from seg_ros.datasets.image_files import (
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    Color,
    build_sample,
    find_images,
    load_list,
)
from seg_ros.datasets.label_files import PALETTES, load_labels
from seg_ros.datasets.sample import Sample
from seg_ros.model_card import VOID_ID, ClassInfo
from seg_ros.plain_yaml import load_plain_yaml
from seg_ros.schema import quoted

CLASSES_FILE = 'classes.yaml'
MAX_CLASSES_BYTES = 1 << 20
LABEL_FOLDERS = ('labels', 'masks', 'annotations', 'segmentations')
MASK_ENDINGS = ('_mask', '_label', '_labels', '_gt', '_seg')
_KEYS = {'classes', 'void_ids', 'void_colors', 'unknown'}


class Folder:
    """One split of a folder of images and masks.

    Args:
        folder: See the module's docstring.
        split: ``all``, or the name of a list file or of a folder below ``images``.
        palette: See ``label_files.load_labels``.

    Raises:
        FileNotFoundError: If a folder, ``classes.yaml`` or a mask is missing.
        ValueError: If ``classes.yaml`` is wrong or the split is unknown.
    """

    classes: tuple[ClassInfo, ...]
    names: tuple[str, ...]

    def __init__(self, folder: Path, split: str = 'all', palette: str = 'auto') -> None:
        if palette not in PALETTES:
            raise ValueError(f'palette {palette!r}; allowed are {", ".join(PALETTES)}')
        self._palette = palette
        raw = _load_classes_file(folder / CLASSES_FILE)
        self.classes = classes_from_list(raw['classes'], folder / CLASSES_FILE)
        self._ids = ids_from_list(raw['classes'], self.classes, folder / CLASSES_FILE)
        self._ids |= dict.fromkeys(raw['void_ids'], VOID_ID)
        self._colors: dict[Color, int] = {entry.color: entry.id for entry in self.classes}
        self._colors |= dict.fromkeys(raw['void_colors'], VOID_ID)
        self._unknown_is_void = raw['unknown'] == 'void'
        self._images, self._labels = folder / 'images', label_folder(folder)
        self._paths = _select(folder, split)
        masks = _masks(self._labels)
        keys = [p.relative_to(self._images).with_suffix('') for p in self._paths]
        if missing := [str(key) for key in keys if key not in masks]:
            raise FileNotFoundError(
                f'{len(missing)} images of {self._images} have no mask of the same name in '
                f'{self._labels}: {", ".join(missing[:5])}'
            )
        self._masks = [masks[key] for key in keys]
        lonely = sorted(map(str, masks.keys() - set(keys))) if split == 'all' else []
        self.remarks = (
            (f'{len(lonely)} masks have no image, such as {lonely[0]}',) if lonely else ()
        )
        self.names = tuple(str(p.relative_to(self._images)) for p in self._paths)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._paths)

    def __getitem__(self, index: int) -> Sample:
        """Read sample ``index``.

        Raises:
            ValueError: If a file is broken, sizes differ, or an id or colour is unknown.
        """
        path = self._masks[index]
        labels, remarks = load_labels(
            path,
            self._ids,
            self._colors,
            palette=self._palette,
            unknown_is_void=self._unknown_is_void,
            unknown_ids_are_void=self._unknown_is_void,
        )
        return build_sample(self._paths[index], labels, self.names[index], remarks)


def label_folder(folder: Path) -> Path:
    """Where the masks of a folder lie."""
    there = [folder / name for name in LABEL_FOLDERS if (folder / name).is_dir()]
    return there[0] if there else folder / LABEL_FOLDERS[0]


def _masks(labels: Path) -> dict[Path, Path]:
    """Name of the image, without its suffix, to the mask."""
    found = {p.relative_to(labels).with_suffix(''): p for p in find_images(labels, MASK_SUFFIXES)}
    for key in list(found):
        ending = next((each for each in MASK_ENDINGS if key.name.endswith(each)), '')
        plain = key.with_name(key.name.removesuffix(ending) or key.name)
        if ending and plain not in found:
            found[plain] = found.pop(key)
    return found


def _select(folder: Path, split: str) -> list[Path]:
    images = folder / 'images'
    if split == 'all':
        return find_images(images)
    listed = folder / f'{split}.txt'
    if listed.is_file():
        return [_find_image(images, line, listed) for line in load_list(listed)]
    if (images / split).is_dir():
        return find_images(images / split)
    available = sorted(
        {'all'} | {p.stem for p in folder.glob('*.txt')} | {p.name for p in images.glob('*/')}
    )
    raise ValueError(f'{folder} has no split {split!r}; available: {", ".join(available)}')


def _find_image(images: Path, line: str, listed: Path) -> Path:
    path = images / line
    if path.is_file():
        return path
    for suffix in IMAGE_SUFFIXES:
        if (named := path.with_name(path.name + suffix)).is_file():
            return named
    raise FileNotFoundError(f'{listed} names {line!r}, which is not in {images}')


def _load_classes_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(
            f'{path} is missing; it lists the classes: "classes: [{{id: 0, name: background, '
            'color: [0, 0, 0]}, ...]". check-data with --propose-classes writes one from the masks'
        )
    raw = load_plain_yaml(path, MAX_CLASSES_BYTES)
    if not isinstance(raw, dict) or 'classes' not in raw:
        raise ValueError(f'{path}: expected a mapping with "classes"')
    if unknown := sorted(raw.keys() - _KEYS, key=str):
        raise ValueError(f'{path}: unknown keys {unknown}; allowed are {sorted(_KEYS)}')
    classes = classes_from_list(raw['classes'], path)
    taken: dict[str, Any] = {
        'void_ids': ids_from_list(raw['classes'], classes, path),
        'void_colors': [entry.color for entry in classes],
    }
    for key, read in (('void_ids', _integer), ('void_colors', _color)):
        listed = raw.get(key) or ()
        try:
            raw[key] = [read(value) for value in listed]
        except (TypeError, ValueError) as error:
            raise ValueError(f'{path}: {key} is {quoted(listed)}: {error}; give a list') from error
        if both := [value for value in raw[key] if value in taken[key]]:
            raise ValueError(f'{path}: {key} {both} belong to classes')
    if raw.setdefault('unknown', 'error') not in ('error', 'void'):
        raise ValueError(f'{path}: unknown is {quoted(raw["unknown"])}; allowed are error, void')
    return raw


def load_classes(path: Path) -> tuple[tuple[ClassInfo, ...], dict[int, int]]:
    """Read the classes of a ``classes.yaml`` or of a model's ``model.yaml``.

    Returns:
        The classes, and what stored values mean: see ``ids_from_list``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it lists no classes, or wrong ones.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f'classes: {str(path)!r} does not exist; give a classes.yaml or a model.yaml with '
            'ids, names and colours'
        )
    raw = load_plain_yaml(path, MAX_CLASSES_BYTES)
    if not isinstance(raw, dict) or 'classes' not in raw:
        raise ValueError(f'{path}: expected a mapping with "classes"')
    classes = classes_from_list(raw['classes'], path)
    return classes, ids_from_list(raw['classes'], classes, path)


def save_classes_file(path: Path, classes: Iterable[ClassInfo]) -> None:
    """Write a ``classes.yaml`` that ``Folder`` reads."""
    listed = [{'id': each.id, 'name': each.name, 'color': list(each.color)} for each in classes]
    text = yaml.safe_dump({'classes': listed}, sort_keys=False, default_flow_style=None)
    path.write_text(text, encoding='utf-8')


def classes_from_list(entries: Any, path: Path) -> tuple[ClassInfo, ...]:
    """Read a list of ``{id, name, color}``; an id that is left out is the position in the list.

    Raises:
        ValueError: If an entry is wrong, or two share an id, a name or a colour.
    """
    if not isinstance(entries, list):
        raise ValueError(f'{path}: classes is {quoted(entries)}; give a list')
    try:
        classes = tuple(
            ClassInfo(_integer(entry.get('id', i)), str(entry['name']), _color(entry['color']))
            for i, entry in enumerate(entries)
        )
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f'{path}: wrong entry of classes: {error!r}') from error
    for what in ('id', 'name', 'color'):
        values = [getattr(entry, what) for entry in classes]
        if len(set(values)) != len(values):
            raise ValueError(f'{path}: two classes share a {what}: {values}')
    if len(classes) < 2:
        raise ValueError(f'{path}: {len(classes)} classes; a net needs at least 2')
    return classes


def ids_from_list(entries: Any, classes: tuple[ClassInfo, ...], path: Path) -> dict[int, int]:
    """What stored values mean: value of a mask -> class id, from a list as ``classes_from_list``.

    Raises:
        ValueError: If ``values`` are no whole numbers from 0 on, or two classes share one.
    """
    table: dict[int, int] = {}
    for entry, known in zip(entries, classes, strict=True):
        values = entry.get('values', [known.id])
        if not isinstance(values, list) or not all(type(v) is int and v >= 0 for v in values):
            raise ValueError(
                f'{path}: values {quoted(values)} of class {known.name!r}: give a list of the '
                'values that mean it in the masks, such as [255]'
            )
        if shared := sorted(table.keys() & set(values)):
            raise ValueError(f'{path}: the values {shared} mean two classes')
        table |= dict.fromkeys(values, known.id)
    return table


def _color(value: Any) -> Color:
    red, green, blue = map(_integer, value)
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError(f'colour {[red, green, blue]}: allowed are 0 to 255')
    return red, green, blue


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f'{quoted(value)} is no whole number')
    return value
