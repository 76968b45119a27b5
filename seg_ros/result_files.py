"""Results as files: refused before the work where they cannot be, and written in one step."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

_REPLACE = 'replace what is there with --overwrite (a node: overwrite:=true)'


def demand_place(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that could not be written at the end of the work; makes its folder.

    Args:
        path: The file. Pipes and ``/dev/stdout`` are taken as they are.
        overwrite: Whether it may be there already.

    Raises:
        FileExistsError: If it is there and may not be replaced.
        ValueError: If it cannot be written.
    """
    if _is_stream(path):
        return
    if path.is_dir():
        raise ValueError(f'{path} is a folder; give the name of a file')
    if path.exists() and not overwrite:
        raise FileExistsError(f'{path} exists; choose another name, or {_REPLACE}')
    trial = _unfinished(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise ValueError(f'{path} cannot be written: {error.strerror}') from error


def demand_empty(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds anything, unless it may be written into.

    Raises:
        FileExistsError: If it holds anything and may not.
    """
    if overwrite or not folder.exists():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise FileExistsError(f'{folder} holds files; choose another folder, or {_REPLACE}')


def write_atomically(path: Path, data: bytes, *, durably: bool = True) -> None:
    """Replace a file by new content, wholly or not at all, whatever happens meanwhile.

    Args:
        path: The file.
        data: The content.
        durably: Whether it has reached the disk on return, which costs milliseconds.
    """
    if _is_stream(path):
        path.write_bytes(data)
        return
    temporary = _unfinished(path)
    try:
        with temporary.open('wb') as stream:
            stream.write(data)
            stream.flush()
            if durably:
                os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if not durably:
        return
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the rename itself must reach the disk
    finally:
        os.close(directory)


def write_text(path: Path, text: str) -> None:
    """Write a result as UTF-8; file names that are no UTF-8 appear with escapes in it.

    Raises:
        ValueError: If it cannot be written.
    """
    # JSON reads these escapes (half of a pair of surrogates) back to the same name.
    _write_result(path, text.encode('utf-8', 'backslashreplace'))


def write_picture(path: Path, pixels: np.ndarray, options: Sequence[int] = ()) -> None:
    """Write a picture in the format of the file's suffix.

    Args:
        path: The file.
        pixels: (H, W) or (H, W, 3) uint8, the latter BGR.
        options: Of ``cv2.imencode``.

    Raises:
        ValueError: If it cannot be written.
    """
    # OpenCV writes no name that is not UTF-8 and says nothing of a full disk.
    _write_result(path, cv2.imencode(path.suffix, pixels, options)[1].tobytes(), durably=False)


def _write_result(path: Path, data: bytes, *, durably: bool = True) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data, durably=durably)
    except OSError as error:
        raise ValueError(f'{path} cannot be written: {error.strerror}') from error


def _unfinished(path: Path) -> Path:
    return path.with_name(f'.{path.name}.{os.getpid()}.tmp')


def _is_stream(path: Path) -> bool:
    """A pipe, a device, or this process's own output wherever it goes."""
    return str(path) in ('/dev/stdout', '/dev/stderr') or path.is_fifo() or path.is_char_device()
