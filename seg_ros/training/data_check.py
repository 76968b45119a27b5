"""Reading every image once before the first batch: problems, histogram of classes, cache."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import cv2
import numpy as np

from seg_ros.datasets.sample import Sample
from seg_ros.model_card import VOID_ID, ClassInfo
from seg_ros.training.loader import ImageStore, channel_table

MAX_SHOWN = 20
CACHE_SHARE = 0.7  # of the memory that is free


@dataclass
class SplitSurvey:
    """What the images of one split hold, each counted as often as an epoch draws it.

    Attributes:
        images: Number of readable images.
        pixels: (C,) labelled pixels per class.
        pixels_where_present: (C,) labelled pixels of the images that hold the class.
        images_where_present: (C,) images that hold the class.
        void_pixels: Pixels without a class.
        sizes: (rows, columns) -> number of images.
    """

    images: int
    pixels: np.ndarray
    pixels_where_present: np.ndarray
    images_where_present: np.ndarray
    void_pixels: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)


@dataclass
class Survey:
    """The splits of a run, read once.

    Attributes:
        classes: Of the data.
        splits: What each split holds.
        problems: What must be mended before training: file, value and cure.
        warnings: What should be looked at.
    """

    classes: tuple[ClassInfo, ...]
    splits: dict[str, SplitSurvey]
    problems: list[str]
    warnings: list[str]

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, to be saved with a run."""
        names = [entry.name for entry in self.classes]
        return {
            'problems': self.problems,
            'warnings': self.warnings,
            'splits': {
                split: {
                    'images': survey.images,
                    'sizes': {f'{w}x{h}': n for (h, w), n in survey.sizes.items()},
                    'void_pixels': survey.void_pixels,
                    'pixels': dict(zip(names, survey.pixels.tolist(), strict=True)),
                    'images_where_present': dict(
                        zip(names, survey.images_where_present.tolist(), strict=True)
                    ),
                }
                for split, survey in self.splits.items()
            },
        }

    def to_text(self) -> str:
        """A table for people, with all problems and warnings."""
        width = max(len(entry.name) for entry in self.classes)
        lines = []
        for split, survey in self.splits.items():
            sizes = ', '.join(f'{w}x{h}: {n}' for (h, w), n in survey.sizes.most_common(5))
            everything = max(1, int(survey.pixels.sum()) + survey.void_pixels)
            void = survey.void_pixels / everything
            lines.append(f'{split}: {survey.images} images ({sizes}), {void:.2%} void')
            total = max(1, int(survey.pixels.sum()))
            for i, entry in enumerate(self.classes):
                lines.append(
                    f'  {entry.id:3d} {entry.name:<{width}} {survey.pixels[i] / total:8.3%}  '
                    f'in {survey.images_where_present[i]} images'
                )
        for kind, messages in (('PROBLEM', self.problems), ('warning', self.warnings)):
            lines += [f'{kind}: {message}' for message in messages]
        return '\n'.join(lines)


def survey_splits(
    stores: Mapping[str, ImageStore],
    *,
    keep: bool = False,
    max_images: int = 0,
    allow_overlap: bool = False,
    allow_missing_classes: bool = False,
) -> Survey:
    """Read the samples of every split.

    Args:
        stores: The splits by name.
        keep: Keep the decoded samples in their stores, as far as the memory allows.
        max_images: Samples read per split, evenly spaced, for data without end; 0 for all.
        allow_overlap: Whether the same image in two splits is a warning only.
        allow_missing_classes: Whether a class without a training pixel is a warning only.

    Returns:
        What was found; nothing raises for a broken file, it is a problem of the survey.
    """
    classes = next(iter(stores.values())).dataset.classes
    complete = True
    survey = Survey(classes, {}, [], [])
    digests: dict[bytes, list[tuple[str, str]]] = defaultdict(list)
    thumbnails: dict[str, list[tuple[str, np.ndarray]]] = defaultdict(list)
    for split, store in stores.items():
        step = max(1, -(-len(store) // max_images)) if max_images else 1
        complete &= step == 1
        survey.splits[split] = _survey_split(
            store,
            split,
            survey,
            digests,
            thumbnails,
            positions=range(0, len(store), step),
            keep=keep and step == 1 and _fits_memory(store, survey),
        )
    _report_duplicates(digests, survey.warnings if allow_overlap else survey.problems, survey)
    _report_neighbours(thumbnails, survey)
    _report_series(stores, survey)
    _report_empty_classes(survey, refuse=complete and not allow_missing_classes)
    survey.problems = _shorten(survey.problems, 'problems')
    survey.warnings = _shorten(survey.warnings, 'warnings')
    return survey


def _survey_split(
    store: ImageStore,
    split: str,
    survey: Survey,
    digests: dict[bytes, list[tuple[str, str]]],
    thumbnails: dict[str, list[tuple[str, np.ndarray]]],
    *,
    positions: range,
    keep: bool,
) -> SplitSurvey:
    count = len(survey.classes)
    zeros = np.zeros(count, np.int64)
    found = SplitSurvey(0, zeros.copy(), zeros.copy(), zeros.copy())
    table = channel_table(survey.classes)
    survey.warnings += [f'{split}: {text}' for text in getattr(store.dataset, 'remarks', ())]

    def read(position: int) -> tuple[Sample | None, str]:
        try:
            return store.dataset[store.indices[position]], ''
        except (ValueError, FileNotFoundError) as error:
            return None, str(error)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        each = map if store.single_threaded else pool.map
        for position, (sample, error) in zip(positions, each(read, positions), strict=True):
            if sample is None:
                survey.problems.append(f'{split}: {error}')
                continue
            problem = _check_sample(sample, table)
            if problem:
                survey.problems.append(f'{split}: {sample.name}: {problem}')
                continue
            survey.warnings += [f'{split}: {remark}' for remark in sample.remarks]
            _count(sample, table, found, store.repeats[position])
            digest = hashlib.blake2b(sample.image.tobytes(), digest_size=16).digest()
            digests[digest].append((split, sample.name))
            thumbnails[split].append((sample.name, _thumbnail(sample.image)))
            if keep:
                store.keep(position, sample.image, sample.labels)
    return found


def _check_sample(sample: Sample, table: np.ndarray) -> str:
    if sample.image.ndim != 3 or sample.image.shape[2] != 3 or sample.image.dtype != np.uint8:
        return f'image is {sample.image.shape} {sample.image.dtype}, expected (H, W, 3) uint8'
    if sample.labels.dtype != np.uint8 or sample.labels.shape != sample.image.shape[:2]:
        return (
            f'labels are {sample.labels.shape} {sample.labels.dtype}, expected '
            f'{sample.image.shape[:2]} uint8'
        )
    counts = np.bincount(sample.labels.ravel(), minlength=256)
    counts[VOID_ID] = 0
    unknown = np.flatnonzero((table == VOID_ID) & (counts > 0)).tolist()
    if unknown:
        return f'labels hold ids {unknown} of no class; add them to the classes or make them void'
    return ''


def _count(sample: Sample, table: np.ndarray, found: SplitSurvey, draws: int) -> None:
    by_id = draws * np.bincount(sample.labels.ravel(), minlength=256)
    counts = np.zeros_like(found.pixels)
    for class_id in np.flatnonzero(by_id[:VOID_ID]):
        counts[table[class_id]] += by_id[class_id]
    found.images += draws
    found.pixels += counts
    found.pixels_where_present += np.where(counts > 0, counts.sum(), 0)
    found.images_where_present += draws * (counts > 0)
    found.void_pixels += int(by_id[VOID_ID])
    found.sizes[sample.labels.shape[0], sample.labels.shape[1]] += draws


def _report_duplicates(
    digests: dict[bytes, list[tuple[str, str]]], overlap: list[str], survey: Survey
) -> None:
    for where in digests.values():
        splits = {split for split, _ in where}
        names = ', '.join(f'{split}/{name}' for split, name in where[:4])
        if len(splits) > 1:
            overlap.append(
                f'the same image is in several splits: {names}. Remove it from one of them, or '
                'the score is that of images that were learned'
            )
        elif len(where) > 1:
            survey.warnings.append(f'the same image comes {len(where)} times: {names}')


def _report_neighbours(
    thumbnails: dict[str, list[tuple[str, np.ndarray]]], survey: Survey
) -> None:
    if not {'train', 'val'} <= thumbnails.keys():
        return
    train = np.stack([small for _, small in thumbnails['train']])
    near = []
    for name, small in thumbnails['val']:
        distance = np.abs(train - small).mean(axis=1)
        closest = int(distance.argmin())
        if 0 < distance[closest] < 2.0:  # grey levels of 255, on average
            near.append(f'{name} ~ {thumbnails["train"][closest][0]}')
    if near:
        survey.warnings.append(
            f'{len(near)} of {len(thumbnails["val"])} validation images look almost like a '
            f'training image ({"; ".join(near[:3])}). Neighbouring frames of a video must not be '
            'in both: use split.mode=blocked or groups'
        )


def _report_series(stores: Mapping[str, ImageStore], survey: Survey) -> None:
    """Warn of drives, or other series of numbered frames, that are on both sides."""
    if not {'train', 'val'} <= stores.keys():
        return
    found = {
        split: Counter(map(_series, map(stores[split].name, range(len(stores[split])))))
        for split in ('train', 'val')
    }
    shared = sorted((found['train'].keys() & found['val'].keys()) - {''})
    if shared and len(found['train'] | found['val']) > 1:  # one prefix for all says nothing
        listing = '; '.join(
            f'{name!r}: {found["train"][name]} in training, {found["val"][name]} in validation'
            for name in shared[:3]
        )
        survey.warnings.append(
            f'{len(shared)} series of frames, by their names, are in training and validation '
            f'({listing}). If a series is one drive, the score says little about another drive: '
            'use split.mode=groups with split.val_groups'
        )


def _series(name: str) -> str:
    """What the name of a frame has before its number: that of the recording, mostly."""
    return re.sub(r'\d+$', '', PurePath(name).stem)


def _report_empty_classes(survey: Survey, *, refuse: bool) -> None:
    """A class that no training image shows is learned as absent, with a fine score.

    Args:
        survey: Without broken images, which may be those that show the class.
        refuse: Whether it is a problem; otherwise a warning.
    """
    refuse = refuse and not survey.problems
    for split, found in survey.splits.items():
        for i, entry in enumerate(survey.classes):
            if found.pixels[i]:
                continue
            text = f'{split}: no pixel of class {entry.name!r} (id {entry.id})'
            if split != 'train':
                survey.warnings.append(f'{text}; it has no score')
                continue
            text += '; it cannot be learned. Add images that show it, or remove the class'
            if found.void_pixels:
                text += f', or, where {VOID_ID} in the masks means it, say so: values: [{VOID_ID}]'
            target = survey.problems if refuse else survey.warnings
            target.append(f'{text}. allow_missing_classes=true trains without it')


def _fits_memory(store: ImageStore, survey: Survey) -> bool:
    try:
        sample = store.dataset[store.indices[0]]
    except (ValueError, FileNotFoundError):
        return True  # the survey will say so
    needed = len(store) * (sample.image.nbytes + sample.labels.nbytes)
    free = _free_memory()
    if free is None or needed < CACHE_SHARE * free:
        return True
    survey.warnings.append(
        f'cache: the decoded images need {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are '
        'free; they are read again in every epoch (use workers=2 or more)'
    )
    return False


def _free_memory() -> int | None:
    try:
        text = Path('/proc/meminfo').read_text(encoding='ascii')
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith('MemAvailable:'):
            return int(line.split()[1]) * 1024
    return None


def _thumbnail(image_hwc: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(image_hwc, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA).ravel().astype(np.float32)


def _shorten(messages: Sequence[str], what: str) -> list[str]:
    if len(messages) <= MAX_SHOWN:
        return list(messages)
    return [*messages[:MAX_SHOWN], f'... and {len(messages) - MAX_SHOWN} more {what}']
