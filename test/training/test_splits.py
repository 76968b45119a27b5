import json

import numpy as np
import pytest

from seg_ros.training.config import load_train_config
from seg_ros.training.splits import blocked_split, build_split, random_split


def config(*overrides):
    return load_train_config(None, overrides)


def test_a_random_split_is_drawn_from_the_seed():
    first = random_split(config('split.val_fraction=0.2'), 50)
    assert first == random_split(config('split.val_fraction=0.2'), 50)
    assert first != random_split(config('split.val_fraction=0.2', 'seed=1'), 50)
    train, val = first
    assert len(val) == 10
    assert sorted(train + val) == list(range(50))


def test_a_blocked_split_keeps_neighbours_apart():
    chosen = config('split.val_fraction=0.2', 'split.block=10', 'split.gap=3')
    train, val = blocked_split(chosen, 100)
    assert len(val) == 20
    assert {i // 10 for i in val} == {i // 10 for i in val[::10]}  # whole blocks
    distance = np.abs(np.subtract.outer(train, val)).min()
    assert distance == 4  # three frames lie between
    assert len(train) + len(val) < 100


def test_a_split_with_an_empty_side_is_refused():
    with pytest.raises(ValueError, match='0 for training'):
        blocked_split(config('split.block=100'), 50)


def test_a_saved_split_is_taken_again_whatever_is_drawn(data_folder, tmp_path):
    chosen = config(f'data={data_folder}', 'split.mode=random', 'seed=3')
    split = build_split(chosen)
    split.save(tmp_path / 'splits.json')
    other = config(f'data={data_folder}', 'split.mode=random', 'seed=4')
    assert build_split(other).val_indices != split.val_indices
    again = build_split(other, tmp_path / 'splits.json')
    assert (again.train_indices, again.val_indices) == (split.train_indices, split.val_indices)
    names = json.loads((tmp_path / 'splits.json').read_text())
    names['val'][0] = 'gone.png'
    (tmp_path / 'splits.json').write_text(json.dumps(names))
    with pytest.raises(ValueError, match='1 samples that are gone'):
        build_split(other, tmp_path / 'splits.json')


def test_another_data_set_can_validate_if_its_classes_agree(data_folder, tmp_path):
    given = [f'data={data_folder}', f'val_data={data_folder}', 'split.val=train']
    split = build_split(config(*given))
    assert split.val.names == split.train.names
    (tmp_path / 'images').mkdir()
    (tmp_path / 'labels').mkdir()
    for kind in ('images', 'labels'):
        path = data_folder / kind / 'val/000.png'
        (tmp_path / kind / 'a.png').write_bytes(path.read_bytes())
    text = (data_folder / 'classes.yaml').read_text().replace('ball', 'sphere')
    (tmp_path / 'classes.yaml').write_text(text)
    with pytest.raises(ValueError, match='differ in id, name or order'):
        build_split(config(f'data={data_folder}', f'val_data={tmp_path}', 'split.val=all'))
