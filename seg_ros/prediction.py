"""Predictions as files: label and overlay PNG, a video of the overlay, or a labelled data set."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from seg_ros.datasets.folder import CLASSES_FILE, save_classes_file
from seg_ros.model_card import ClassInfo
from seg_ros.overlay import blend, palette
from seg_ros.picture_sources import Picture, demand_utf8
from seg_ros.result_files import demand_empty, demand_place, write_picture

_MIN_FREE_BYTES = 1 << 22  # OpenCV's writer of videos says nothing of a full disk


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
        overwrite: Whether the folders may hold files, to be replaced by those of the same name:
            true labels may lie in a folder of that name.

    Raises:
        FileExistsError: If one of the folders holds anything and may not.
        ValueError: If they cannot be written into.
    """

    def __init__(
        self, out: Path, classes: tuple[ClassInfo, ...], *, alpha: float, overwrite: bool
    ) -> None:
        self._out = out
        self._palette = palette(classes)
        self._alpha = alpha
        for kind in ('labels', 'overlay'):
            demand_empty(out / kind, overwrite=overwrite)
            demand_place(out / kind / '_.png', overwrite=True)

    def write(self, picture: Picture, labels_hw: np.ndarray) -> None:
        """Write both files.

        Raises:
            ValueError: If they cannot be written.
        """
        overlay = blend(picture.image_rgb, labels_hw, self._palette, self._alpha)
        overlay_bgr = cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR)
        for kind, pixels in (('labels', labels_hw), ('overlay', overlay_bgr)):
            write_picture(self._out / kind / f'{picture.name}.png', pixels)

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
        overwrite: Whether the folders may hold files, to be replaced by those of the same name.

    Raises:
        FileExistsError: If there is a ``classes.yaml`` or a folder that holds anything.
        ValueError: If they cannot be written into.
    """

    def __init__(self, out: Path, classes: tuple[ClassInfo, ...], *, overwrite: bool) -> None:
        self._out = out
        demand_place(out / CLASSES_FILE, overwrite=overwrite)
        for kind in ('images', 'labels'):
            # The pictures themselves may lie there: labels are added to them.
            demand_empty(out / kind, overwrite=overwrite or kind == 'images')
            demand_place(out / kind / '_.png', overwrite=True)
        save_classes_file(out / CLASSES_FILE, classes)

    def write(self, picture: Picture, labels_hw: np.ndarray) -> None:
        """Write image and labels.

        Raises:
            ValueError: If they cannot be written.
        """
        write_picture(self._out / 'labels' / f'{picture.name}.png', labels_hw)
        image = self._out / 'images' / picture.name
        if picture.file is None:
            pixels = cv2.cvtColor(picture.image_rgb, cv2.COLOR_RGB2BGR)
            write_picture(image.with_name(f'{image.name}.png'), pixels)
            return
        copy = image.with_name(image.name + picture.file.suffix)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not (copy.exists() and copy.samefile(picture.file)):
            shutil.copyfile(picture.file, copy)

    def __enter__(self) -> LabelledFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        """Every file is complete by itself."""


class OverlayVideo:
    """Writes the overlays as one mp4; use it in a ``with``.

    The file appears under its name when it is complete and holds every frame.

    Args:
        path: The file.
        classes: For the colours.
        fps: Pictures per second.
        alpha: Share of the colours in the overlay.
        overwrite: Whether the file may be replaced.

    Raises:
        FileExistsError: If the file is there and may not be replaced.
        ValueError: If it cannot be written; leaving the ``with``, if frames are missing in it.
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
        demand_utf8(path)
        demand_place(path, overwrite=overwrite)
        self._path, self._fps, self._alpha = path, fps, alpha
        self._unfinished = path.with_name(f'.{os.getpid()}.{path.name}')
        self._palette = palette(classes)
        self._writer: cv2.VideoWriter | None = None
        self._size_hw: tuple[int, ...] = ()
        self._written = 0

    def write(self, picture: Picture, labels_hw: np.ndarray) -> None:
        """Append a frame; one of another size than the first is scaled to it."""
        overlay = blend(picture.image_rgb, labels_hw, self._palette, self._alpha)
        if self._writer is None:
            # The codec wants even sizes.
            self._size_hw = tuple(size - size % 2 for size in labels_hw.shape)
            codec = cv2.VideoWriter.fourcc(*'mp4v')
            size = (self._size_hw[1], self._size_hw[0])
            self._writer = cv2.VideoWriter(str(self._unfinished), codec, self._fps, size)
            if not self._writer.isOpened():
                raise ValueError(f'{self._path} cannot be written as mp4; write png instead')
        if shutil.disk_usage(self._path.parent).free < _MIN_FREE_BYTES:
            raise ValueError(f'{self._path} cannot be written: the disk is full')
        if overlay.shape[:2] != self._size_hw:
            size = (self._size_hw[1], self._size_hw[0])
            overlay = cv2.resize(overlay, size, interpolation=cv2.INTER_AREA)
        self._writer.write(cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))
        self._written += 1

    def __enter__(self) -> OverlayVideo:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._writer is None:
            return
        self._writer.release()
        readable = _count_frames(self._unfinished)
        if readable == self._written:
            self._unfinished.replace(self._path)
            return
        with contextlib.suppress(OSError):
            self._unfinished.unlink()
        if exception[0] is None:
            raise ValueError(
                f'{self._path} cannot be written: of {self._written} frames {readable} could be '
                'read back; is the disk full?'
            )


def _count_frames(path: Path) -> int:
    """How many frames of a video can be read; its header alone may promise more."""
    video = cv2.VideoCapture(str(path))
    count = 0
    while video.grab():
        count += 1
    video.release()
    return count
