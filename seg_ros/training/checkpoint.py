"""Checkpoints that survive a kill at any moment.

In ``<run>/checkpoints``:

* ``step_<n>.weights.safetensors``: the weights to deploy (the moving average where there is
  one), under the names of ``build_net``'s module,
* ``step_<n>.state.safetensors``: what resuming needs beside: live weights, optimiser, random
  state,
* ``last.json``, ``previous.json``, ``best.json``, ``best_2.json``, ..., and ``epoch_<n>.json`` of
  epochs that are kept for good: each names its tensor
  files with their sha256, and says which net, classes and input they belong to.

Tensor files are written under a new name, synchronised, and only then named by a ``.json`` that
replaces the old one in a single rename. Files that no ``.json`` names any more are removed last.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from seg_ros.result_files import write_atomically

FOLDER = 'checkpoints'
LAST, PREVIOUS, BEST = 'last', 'previous', 'best'
FORMAT = 1
MAX_JSON_BYTES = 1 << 26


class CheckpointError(Exception):
    """A checkpoint could not be written or is damaged; the message says what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """What a ``.json`` of a checkpoint says.

    Attributes:
        path: The ``.json``.
        model: ``name``, ``net``, ``net_options``, ``classes`` and ``input`` as on a model card.
        scores: Validation scores of the weights.
        provenance: Data, recipe, versions.
        progress: Where in the run it was taken (``loop.Progress``).
        files: ``weights`` and, for last and previous, ``state`` -> [file name, sha256].
    """

    path: Path
    model: dict[str, Any]
    scores: dict[str, Any]
    provenance: dict[str, Any]
    progress: dict[str, Any]
    files: dict[str, tuple[str, str]]

    def load_tensors(self, kind: str) -> dict[str, Tensor]:
        """Read one of its tensor files and verify it.

        Args:
            kind: ``weights`` or ``state``.

        Raises:
            CheckpointError: If the file is missing, damaged, or not part of this checkpoint.
        """
        if kind not in self.files:
            raise CheckpointError(f'{self.path} holds {sorted(self.files)}, not {kind!r}')
        name, digest = self.files[kind]
        path = self.path.parent / name
        if not path.is_file():
            raise CheckpointError(f'{path} is missing; {self.path.name} names it.{self._cure()}')
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise CheckpointError(
                f'{path} is damaged: its sha256 is not the one that {self.path.name} '
                f'names.{self._cure()}'
            )
        try:
            return load(data)
        except SafetensorError as error:
            raise CheckpointError(f'{path} is no safetensors file: {error}') from error

    def _cure(self) -> str:
        previous = self.path.with_name(f'{PREVIOUS}.json')
        if self.path != previous and previous.is_file():
            return f' Go on from the checkpoint before it: --resume {previous}'
        return ''


def load_checkpoint(path: Path | str, default: str = LAST) -> Checkpoint:
    """Read the description of a checkpoint.

    Args:
        path: A ``.json`` of a checkpoint, or a run folder.
        default: Which one of a run folder: ``last``, ``best``, ``previous``.

    Raises:
        FileNotFoundError: If there is none.
        CheckpointError: If it is damaged.
    """
    path = Path(path)
    if path.is_dir():
        path = path / FOLDER / f'{default}.json'
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; no checkpoint was written there')
    try:
        return _read_description(path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        previous = path.with_name(f'{PREVIOUS}.json')
        cure = f' Try --resume {previous}' if previous.is_file() and path != previous else ''
        raise CheckpointError(f'{path} is damaged: {error!r}.{cure}') from error


def save_checkpoint(
    folder: Path,
    *,
    step: int,
    weights: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    model: Mapping[str, Any],
    scores: Mapping[str, Any],
    provenance: Mapping[str, Any],
    progress: Mapping[str, Any],
    best_place: int | None,
    keep_best: int,
    keep_as: str = '',
) -> None:
    """Write ``last`` and, where the score deserves it, a place among the best.

    Args:
        folder: ``<run>/checkpoints``.
        step: Steps done in the run.
        weights: Weights to deploy.
        state: What resuming needs.
        model: See ``Checkpoint``.
        scores: See ``Checkpoint``.
        provenance: See ``Checkpoint``.
        progress: See ``Checkpoint``.
        best_place: 0 for the best so far, 1 for the second; None for none of the kept.
        keep_best: How many of the best are kept.
        keep_as: Name under which these weights are kept for good; for nothing when empty.

    Raises:
        CheckpointError: If the disk is full or the folder not writable; what was there is whole.
    """
    last = folder / f'{LAST}.json'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stem = _free_stem(folder, step)
        names = {
            'weights': _write_tensors(folder / f'{stem}.weights.safetensors', weights),
            'state': _write_tensors(folder / f'{stem}.state.safetensors', state),
        }
        body: dict[str, Any] = {
            'format': FORMAT,
            'model': dict(model),
            'scores': dict(scores),
            'provenance': dict(provenance),
            'progress': dict(progress),
        }
        if last.is_file():
            write_atomically(folder / f'{PREVIOUS}.json', last.read_bytes())
        if best_place is not None:
            _make_room(folder, best_place, keep_best)
            best = {**body, 'files': {'weights': names['weights']}}
            write_atomically(best_path(folder, best_place), _to_json(best))
        if keep_as:
            kept = {**body, 'files': {'weights': names['weights']}}
            write_atomically(folder / f'{keep_as}.json', _to_json(kept))
        write_atomically(last, _to_json({**body, 'files': names}))
    except OSError as error:
        remove_unnamed(folder)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        reason = 'the disk is full' if full else str(error)
        raise CheckpointError(
            f'cannot write a checkpoint to {folder}: {reason}. '
            + (
                f'The last one is whole: make room and go on with --resume {folder.parent}'
                if last.is_file()
                else 'No checkpoint was written before.'
            )
        ) from error
    remove_unnamed(folder)


def best_path(folder: Path, place: int) -> Path:
    """Description of the best checkpoint (place 0), the second, and so on."""
    return folder / (f'{BEST}.json' if place == 0 else f'{BEST}_{place + 1}.json')


def remove_unnamed(folder: Path) -> None:
    """Remove tensor files that no description names, and what a kill left half written."""
    named: set[str] = set()
    for path in folder.glob('*.json'):
        try:
            named |= {name for name, _ in json.loads(path.read_bytes())['files'].values()}
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            return  # a damaged description may name any of them
    for path in [*folder.glob('step_*.safetensors'), *folder.glob('.*.tmp')]:
        if path.name not in named:
            with contextlib.suppress(OSError):
                path.unlink()


def _read_description(path: Path) -> Checkpoint:
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f'more than {MAX_JSON_BYTES} bytes')
    raw = json.loads(path.read_text(encoding='utf-8'))
    if raw['format'] != FORMAT:
        raise ValueError(f'format {raw["format"]!r}; this version reads {FORMAT}')
    files = {kind: (str(name), str(digest)) for kind, (name, digest) in raw['files'].items()}
    if any(Path(name).name != name for name, _ in files.values()):
        raise ValueError('a file name leads out of the folder')
    return Checkpoint(path, raw['model'], raw['scores'], raw['provenance'], raw['progress'], files)


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> tuple[str, str]:
    data = save({key: value.detach().cpu().contiguous() for key, value in tensors.items()})
    write_atomically(path, data)
    return path.name, hashlib.sha256(data).hexdigest()


def _free_stem(folder: Path, step: int) -> str:
    """A name that no file has: what ``last`` names is never overwritten."""
    stem, number = f'step_{step:08d}', 1
    while (folder / f'{stem}.weights.safetensors').exists():
        number += 1
        stem = f'step_{step:08d}_{number}'
    return stem


def _make_room(folder: Path, place: int, keep_best: int) -> None:
    for each in range(keep_best - 1, place, -1):
        if (better := best_path(folder, each - 1)).is_file():
            write_atomically(best_path(folder, each), better.read_bytes())


def _to_json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, indent=1, allow_nan=False).encode()
