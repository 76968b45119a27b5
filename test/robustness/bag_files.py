"""Bags whose files are damaged: storage, compression and metadata."""

from __future__ import annotations

import copy
import shutil
from typing import TYPE_CHECKING, Any

import yaml
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from seg_ros.bag_compression import zstd
from seg_ros.bags import IMAGE_TYPE, Bag
from seg_ros.image import decode_image
from test.robustness.frames import TYPES, valid_image
from test.robustness.strategies import damaged
from test.robustness.tally import Tally, draw_cases

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = 3
KINDS: dict[str, tuple[StoragePlugin, CompressionMode]] = {
    'mcap': (StoragePlugin.MCAP, CompressionMode.NONE),
    'mcap, zstd messages': (StoragePlugin.MCAP, CompressionMode.MESSAGE),
    'mcap, zstd chunks': (StoragePlugin.MCAP, CompressionMode.STORAGE),
    'sqlite3': (StoragePlugin.SQLITE3, CompressionMode.NONE),
    'sqlite3, zstd file': (StoragePlugin.SQLITE3, CompressionMode.FILE),
}
ODD_VALUES = (None, 0, -1, 2**70, 1.5, float('nan'), 'x', '../x', [], {}, [1], {'a': 1}, [None])
HOSTILE_YAML = (
    '',
    '\0',
    '[' * 200_000,
    '{a: ' * 50_000,
    ''.join(' ' * depth + 'a:\n' for depth in range(1000)),
    '!!python/object/apply:os.system ["false"]',
    'a: &a [x, x]\n' + ''.join(f'{n}: &b{n} [{"*a, " * 9}*a]\n' for n in range(99)),
    '#' * (1 << 23),
)


def fuzz_bag_files(folder: Path, cases: int) -> list[Tally]:
    """Damage every kind of bag; what can still be read must be whole, all else refused."""
    whole = {name: write_bag(folder / name, *kind) for name, kind in KINDS.items()}
    storage, metadata = Tally('bag storage'), Tally('bag metadata')
    files = {
        name: next(p for p in path.iterdir() if p.suffix != '.yaml')
        for name, path in whole.items()
    }

    def check_storage(case: tuple[str, bytes]) -> str | None:
        name, data = case
        return _read_changed(whole[name], files[name].name, data)

    def check_metadata(text: str) -> str | None:
        return _read_changed(whole['mcap'], 'metadata.yaml', text.encode())

    drawn = st.sampled_from(sorted(KINDS)).flatmap(
        lambda name: st.tuples(st.just(name), damaged(files[name].read_bytes()))
    )
    draw_cases(storage, drawn, cases, check_storage)
    text = (whole['mcap'] / 'metadata.yaml').read_text(encoding='utf-8')
    texts = st.one_of(
        odd_yaml(text), odd_yaml(text), odd_yaml(text), st.sampled_from(HOSTILE_YAML)
    )
    draw_cases(metadata, texts, cases, check_metadata)
    return [storage, metadata]


def write_bag(path: Path, storage: StoragePlugin, mode: CompressionMode) -> Path:
    """Record the stripes three times."""
    writer = Writer(path, version=9, storage_plugin=storage)
    if mode != CompressionMode.NONE:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection('/image', IMAGE_TYPE, typestore=TYPES)
        for index in range(FRAMES):
            writer.write(connection, index, valid_image(IMAGE_TYPE))
    return path


def write_bomb(path: Path, mode: CompressionMode, size: int) -> Path:
    """Write a bag whose compressed data expands to ``size`` zeros."""
    storage = StoragePlugin.SQLITE3 if mode == CompressionMode.FILE else StoragePlugin.MCAP
    if mode == CompressionMode.FILE:
        write_bag(path, storage, mode)
        (file,) = path.glob('*.zstd')
        with zstd.open(file, 'wb') as stream:
            for _ in range(0, size, 1 << 20):
                stream.write(bytes(1 << 20))
        return path
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection('/image', IMAGE_TYPE, typestore=TYPES)
        writer.write(connection, 0, bytes(size))
    return path


@st.composite
def odd_yaml(draw: Any, text: str) -> str:
    """A YAML text of which one value is another or missing."""
    root = yaml.safe_load(text)
    places = list(_places(root))
    parent, key = draw(st.sampled_from(places))
    changed = copy.deepcopy(root)
    node = changed
    for step in parent:
        node = node[step]
    value = draw(st.sampled_from((*ODD_VALUES, KeyError)))
    if value is KeyError:
        del node[key]
    else:
        node[key] = value
    return yaml.safe_dump(changed)


def _places(node: Any, path: tuple[Any, ...] = ()) -> Any:
    """Every value of nested mappings and lists: where it stands, and its key there."""
    keys = node.keys() if isinstance(node, dict) else range(len(node))
    for key in keys:
        yield path, key
        if isinstance(node[key], (dict, list)):
            yield from _places(node[key], (*path, key))


def _read_changed(bag_path: Path, name: str, data: bytes) -> str | None:
    """Read a copy of a bag in which one file was exchanged."""
    copied = bag_path.with_name('changed')
    shutil.copytree(bag_path, copied)
    try:
        (copied / name).write_bytes(data)
        with Bag(copied) as bag:
            for message in bag.read_messages(bag.topics):
                if message.type != IMAGE_TYPE:
                    continue
                fields = bag.deserialize(message)
                if decode_image(fields).pixels.shape[:2] != (fields.height, fields.width):
                    return 'an image of another size'
    except FileNotFoundError as error:
        raise ValueError(str(error)) from error
    finally:
        shutil.rmtree(copied)
    return None
