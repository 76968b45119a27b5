import contextlib
import json
import resource

import pytest
import torch

from seg_ros.training.checkpoint import (
    FOLDER,
    CheckpointError,
    load_checkpoint,
    remove_unnamed,
    save_checkpoint,
)
from seg_ros.training.loop import train


def save(folder, step, *, place=None, keep_best=2, size=1000, value=None):
    tensor = torch.full((size,), float(step if value is None else value))
    save_checkpoint(
        folder,
        step=step,
        weights={'w': tensor},
        state={'s': tensor + 1},
        model={},
        scores={},
        provenance={},
        progress={'step': step},
        best_place=place,
        keep_best=keep_best,
    )


@contextlib.contextmanager
def file_size_limit(size):
    """Makes longer files fail to be written, as a full disk does.

    The limit holds for the whole process, the log of the tests included: keep it short.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_reads_back_what_was_saved(tmp_path):
    save(tmp_path / FOLDER, 7)
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.progress == {'step': 7}
    assert torch.equal(checkpoint.load_tensors('weights')['w'], torch.full((1000,), 7.0))
    assert torch.equal(checkpoint.load_tensors('state')['s'], torch.full((1000,), 8.0))


def test_keeps_last_previous_and_the_best_and_removes_the_rest(tmp_path):
    folder = tmp_path / FOLDER
    for step, place in ((1, 0), (2, 1), (3, 0), (4, None), (5, None)):
        save(folder, step, place=place)
    steps = {p.stem: json.loads(p.read_text())['progress']['step'] for p in folder.glob('*.json')}
    assert steps == {'last': 5, 'previous': 4, 'best': 3, 'best_2': 1}
    assert sorted(p.name for p in folder.glob('*.safetensors')) == [
        'step_00000001.weights.safetensors',
        'step_00000003.weights.safetensors',
        'step_00000004.state.safetensors',
        'step_00000004.weights.safetensors',
        'step_00000005.state.safetensors',
        'step_00000005.weights.safetensors',
    ]
    assert not list(folder.glob('.*.tmp'))


def test_a_step_saved_twice_never_overwrites_what_last_names(tmp_path):
    folder = tmp_path / FOLDER
    save(folder, 1)
    first = load_checkpoint(tmp_path)
    save(folder, 1, value=9.0)
    assert load_checkpoint(tmp_path).load_tensors('weights')['w'][0] == 9
    assert first.load_tensors('weights')['w'][0] == 1  # still whole, as previous


def test_a_full_disk_is_a_clear_error_and_leaves_the_last_checkpoint_whole(
    tmp_path,
):
    folder = tmp_path / FOLDER
    save(folder, 1, place=0)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    full = pytest.raises(CheckpointError, match=r'disk is full.*--resume')
    with full, file_size_limit(8192):
        save(folder, 2, place=0, size=10_000)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_run_on_a_full_disk_stops_and_goes_on_once_there_is_room(
    tmp_path, tiny_config, monkeypatch
):
    from seg_ros.training import loop

    plain_save = loop.save_checkpoint

    def full_from_step_6_on(folder, *, step, **rest):
        with file_size_limit(4096) if step >= 6 else contextlib.nullcontext():
            plain_save(folder, step=step, **rest)

    monkeypatch.setattr(loop, 'save_checkpoint', full_from_step_6_on)
    config = tiny_config()
    with pytest.raises(CheckpointError, match='the disk is full'):
        train(config, tmp_path, quiet=True)
    monkeypatch.setattr(loop, 'save_checkpoint', plain_save)
    checkpoint = load_checkpoint(tmp_path)
    assert 0 < checkpoint.progress['step'] < 6
    assert train(config, tmp_path, resume=checkpoint, quiet=True).progress.finished


@pytest.mark.parametrize('damage', ['cut', 'flip', 'remove'])
def test_a_damaged_tensor_file_is_named_with_the_way_out(tmp_path, damage):
    folder = tmp_path / FOLDER
    save(folder, 1)
    save(folder, 2)
    path = folder / 'step_00000002.state.safetensors'
    data = bytearray(path.read_bytes())
    if damage == 'cut':
        path.write_bytes(data[: len(data) // 2])
    elif damage == 'flip':
        data[-3] ^= 1
        path.write_bytes(data)
    else:
        path.unlink()
    with pytest.raises(CheckpointError, match=r'step_00000002\.state.*previous\.json'):
        load_checkpoint(tmp_path).load_tensors('state')
    previous = load_checkpoint(folder / 'previous.json')
    assert previous.load_tensors('state')['s'][0] == 2


@pytest.mark.parametrize('text', ['', '{"format": 1}', '{"format": 99}', '[1]', '{"format'])
def test_a_damaged_description_is_named_with_the_way_out(tmp_path, text):
    folder = tmp_path / FOLDER
    save(folder, 1)
    save(folder, 2)
    (folder / 'last.json').write_text(text)
    with pytest.raises(CheckpointError, match=r'last\.json.*previous\.json'):
        load_checkpoint(tmp_path)
    remove_unnamed(folder)  # with a damaged description nothing is thrown away
    assert load_checkpoint(folder / 'previous.json').load_tensors('weights')['w'][0] == 1


def test_a_description_cannot_name_files_elsewhere(tmp_path):
    folder = tmp_path / FOLDER
    save(folder, 1)
    raw = json.loads((folder / 'last.json').read_text())
    raw['files']['weights'][0] = '../../secret'
    (folder / 'last.json').write_text(json.dumps(raw))
    with pytest.raises(CheckpointError, match='leads out'):
        load_checkpoint(tmp_path)


def test_a_missing_checkpoint_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match='no checkpoint'):
        load_checkpoint(tmp_path)
