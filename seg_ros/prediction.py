"""Predictions as files: label and overlay PNG, a video of the overlay, or a labelled data set."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from seg_ros.datasets.folder import CLASSES_FILE, save_classes_file
from seg_ros.model_card import ClassInfo
from seg_ros.overlay import blend, palette
from seg_ros.picture_sources import Picture


class PredictionWriter(Protocol):
    """Keeps what was predicted; to be used in a ``with``."""

    def write(self, picture: Picture, labels_hw: np.ndarray) -> None:
        """Write one picture with its (H, W) uint8 class ids, 255 = void."""
        ...

    def __enter__(self) -> PredictionWriter: ...

    def __exit__(self, *exception: object) -> None: ...


class PictureFiles:
    """Writes ``<out>/labels/<name>.png`` (ids) and ``<out>/overlay/<name>.png``.

    Args:
        out: Folder; made where it is missing.
        classes: For the colours.
        alpha: Share of the colours in the overlay.
        overwrite: Whether files may be replaced: true labels may lie in a folder of that name.
    """

    def __init__(
        self, out: Path, classes: tuple[ClassInfo, ...], *, alpha: float, overwrite: bool
    ) -> None:
        self._out = out
        self._palette = palette(classes)
        self._alpha = alpha
        self._overwrite = overwrite

    def write(self, picture: Picture, labels_hw: np.ndarray) -> None:
        """Write both files.

        Raises:
            FileExistsError: If one is there and may not be replaced.
        """
        overlay = blend(picture.image_rgb, labels_hw, self._palette, self._alpha)
        overlay_bgr = cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR)
        for kind, pixels in (('labels', labels_hw), ('overlay', overlay_bgr)):
            _save_png(self._out / kind / f'{picture.name}.png', pixels, self._overwrite)

    def __enter__(self) -> PictureFiles:
        return self

    def __exit__(self, *exception: object) -> None:
        """Every file is complete by itself."""


class LabelledFolder:
    """Writes what the data set ``folder`` reads: pseudo-labels to train on.

    ``images/`` holds copies of image files, byte by byte, and PNG of other pictures.

    Args:
        out: Folder; made where it is missing.
        classes: For ``classes.yaml``.
        overwrite: Whether files may be replaced.

    Raises:
        FileExistsError: If there is a ``classes.yaml`` that may not be replaced.
    """

    def __init__(self, out: Path, classes: tuple[ClassInfo, ...], *, overwrite: bool) -> None:
        self._out, self._overwrite = out, overwrite
        _make_way(out / CLASSES_FILE, overwrite)
        save_classes_file(out / CLASSES_FILE, classes)

    def write(self, picture: Picture, labels_hw: np.ndarray) -> None:
        """Write image and labels.

        Raises:
            FileExistsError: If one is there and may not be replaced.
        """
        _save_png(self._out / 'labels' / f'{picture.name}.png', labels_hw, self._overwrite)
        image = self._out / 'images' / picture.name
        if picture.file is None:
            pixels = cv2.cvtColor(picture.image_rgb, cv2.COLOR_RGB2BGR)
            _save_png(image.with_name(f'{image.name}.png'), pixels, self._overwrite)
            return
        copy = image.with_name(image.name + picture.file.suffix)
        _make_way(copy, self._overwrite)
        if not (copy.exists() and copy.samefile(picture.file)):
            shutil.copyfile(picture.file, copy)

    def __enter__(self) -> LabelledFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        """Every file is complete by itself."""


class OverlayVideo:
    """Writes the overlays as one mp4; use it in a ``with``.

    Args:
        path: The file.
        classes: For the colours.
        fps: Pictures per second.
        alpha: Share of the colours in the overlay.
        overwrite: Whether the file may be replaced.

    Raises:
        FileExistsError: If the file is there and may not be replaced.
    """

    def __init__(
        self,
        path: Path,
        classes: tuple[ClassInfo, ...],
        fps: float,
        *,
        alpha: float,
        overwrite: bool,
    ) -> None:
        _make_way(path, overwrite)
        self._path, self._fps, self._alpha = path, fps, alpha
        self._palette = palette(classes)
        self._writer: cv2.VideoWriter | None = None
        self._size_hw: tuple[int, ...] = ()

    def write(self, picture: Picture, labels_hw: np.ndarray) -> None:
        """Append a frame; one of another size than the first is scaled to it."""
        overlay = blend(picture.image_rgb, labels_hw, self._palette, self._alpha)
        if self._writer is None:
            # The codec wants even sizes.
            self._size_hw = tuple(size - size % 2 for size in labels_hw.shape)
            codec = cv2.VideoWriter.fourcc(*'mp4v')
            size = (self._size_hw[1], self._size_hw[0])
            self._writer = cv2.VideoWriter(str(self._path), codec, self._fps, size)
            if not self._writer.isOpened():
                raise ValueError(f'{self._path} cannot be written as mp4; write png instead')
        if overlay.shape[:2] != self._size_hw:
            size = (self._size_hw[1], self._size_hw[0])
            overlay = cv2.resize(overlay, size, interpolation=cv2.INTER_AREA)
        self._writer.write(cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))

    def __enter__(self) -> OverlayVideo:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._writer is not None:
            self._writer.release()


def _make_way(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise FileExistsError(f'{path} exists; allow overwriting or choose another folder')
    path.parent.mkdir(parents=True, exist_ok=True)


def _save_png(path: Path, pixels: np.ndarray, overwrite: bool) -> None:
    _make_way(path, overwrite)
    if not cv2.imwrite(str(path), pixels):
        raise ValueError(f'{path} cannot be written')
