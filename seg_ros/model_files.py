"""Files of a model folder, read once: the bytes that are hashed are the bytes that are used."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from seg_ros.onnx_structure import check_self_contained

if TYPE_CHECKING:
    from pathlib import Path

MAX_FILE_BYTES = 1 << 30
_SHA256 = re.compile(r'[0-9a-f]{64}')


def sha256_of(path: Path) -> str:
    """Hash a file in bounded memory; hex digits."""
    digest = hashlib.sha256()
    with path.open('rb') as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def read_model_file(card_path: Path, name: str, digest: str) -> bytes:
    """Read a file that a card vouches for.

    Whoever needs its content takes it from here: between two looks at a folder its files can be
    exchanged.

    Args:
        card_path: The card, beside which the file lies.
        name: Of the file.
        digest: What its sha256 has to be, in hex.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If it lies elsewhere, is too large, has another hash, or is a graph that
            refers to further files.
    """
    path = card_path.parent / name
    if '/' in name or name in ('', '.', '..', card_path.name):
        raise ValueError(f'{card_path}: file name {name!r} must be a plain name in the folder')
    # Links are followed: colcon's --symlink-install links the card and every file beside it.
    if path.resolve().parent != card_path.resolve().parent:
        raise ValueError(f'{path} is a link out of the model folder')
    if not path.is_file():
        raise FileNotFoundError(f'{path} is listed on the card and missing')
    if not _SHA256.fullmatch(digest):
        raise ValueError(f'{path}: sha256 on the card is {digest!r}, not 64 hex digits')
    with path.open('rb') as stream:
        content = stream.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f'{path} has more than {MAX_FILE_BYTES} bytes')
    if (actual := hashlib.sha256(content).hexdigest()) != digest:
        raise ValueError(
            f'{path} does not match its card: sha256 is {actual}, the card says {digest}. '
            'The file is damaged or was exchanged; export the model again.'
        )
    if path.suffix == '.onnx':
        try:
            check_self_contained(content)
        except ValueError as error:
            raise ValueError(f'{path} cannot be used: {error}') from error
    return content
