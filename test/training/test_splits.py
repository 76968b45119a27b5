import json
import re

import cv2
import numpy as np
import pytest

from seg_ros.datasets import build_dataset
from seg_ros.training.data_check import survey_splits
from seg_ros.training.loader import ImageStore, TrainingBatches
from seg_ros.training.phases import build_augmentation
from seg_ros.training.preparation import open_stores
from seg_ros.training.recipes import load_train_config
from seg_ros.training.splits import blocked_split, build_split, groups_split, random_split


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


DRIVES = ('train/night_001.png', 'train/dawn_7.png', 'val/night_002.png', 'val/noon_3.png')


def test_groups_are_kept_whole_whatever_split_they_came_in():
    chosen = config('split.mode=groups', 'split.val_groups=night')
    assert groups_split(chosen, DRIVES) == ([1, 3], [0, 2])
    chosen = config('split.mode=groups', 'split.val_groups=noon|dawn', 'split.train_groups=night')
    assert groups_split(chosen, DRIVES) == ([0, 2], [1, 3])
    chosen = config('split.mode=groups', 'split.val_groups=noon', 'split.train_groups=_1|night')
    assert groups_split(chosen, DRIVES) == ([0, 2], [3])  # the rest is left out


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (['split.val_groups=fog'], 'of 4 names .* 0 for validation'),
        (['split.val_groups=_'], '0 are for training'),
        (['split.val_groups=night', 'split.train_groups=t_'], "2 names fit .*'train/night_001"),
    ],
)
def test_groups_with_an_empty_or_a_doubled_side_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        groups_split(config('split.mode=groups', *settings), DRIVES)


@pytest.mark.parametrize('given', ['', 'split.val_groups=(night', 'split.train_groups="*"'])
def test_groups_need_an_expression_that_can_be_read(given):
    with pytest.raises(ValueError, match='_groups: '):
        config('split.mode=groups', *filter(None, [given]))


def test_groups_refuse_other_validation_data(data_folder):
    given = [f'data={data_folder}', f'val_data={data_folder}']
    with pytest.raises(ValueError, match='groups divides one data set'):
        build_split(config('split.mode=groups', 'split.val_groups=a', *given))


def test_a_pool_is_regrouped_and_saved(data_folder, tmp_path):
    given = [f'data={data_folder}', 'split.mode=groups', 'split.pool=[train,val]']
    split = build_split(config(*given, 'split.val_groups=/00[01]'))
    chosen = {split.val.names[i] for i in split.val_indices}
    assert chosen == {f'{name}/{name}/00{i}.png' for name in ('train', 'val') for i in (0, 1)}
    assert len(split.train_indices) == 13 - 4
    for i in split.val_indices:
        assert split.val[i].name == split.val.names[i]
    split.save(tmp_path / 'splits.json')
    other = config(*given, 'split.val_groups=/002')
    assert build_split(other, tmp_path / 'splits.json').val_indices == split.val_indices


def test_all_images_can_train(data_folder):
    split = build_split(config(f'data={data_folder}', 'split.mode=all', 'split.pool=[train,val]'))
    assert split.train_indices == tuple(range(13))
    assert set(split.val_indices) <= set(split.train_indices)


def test_a_drive_on_both_sides_is_warned_of(data_folder, tmp_path):
    source = sorted((data_folder / 'images/train').iterdir())
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
        for number, path in enumerate(source):
            drive = 'north' if number < 4 else 'south'
            file = data_folder / folder / 'train' / path.name
            copy = tmp_path / folder / f'{drive}_{number:03d}.png'
            copy.write_bytes(file.read_bytes())
    (tmp_path / 'classes.yaml').write_text((data_folder / 'classes.yaml').read_text())

    def warnings(*given):
        survey = survey_splits(open_stores(build_split(config(f'data={tmp_path}', *given))))
        return [text for text in survey.warnings if 'series' in text]

    (text,) = warnings('split.mode=random', 'split.val_fraction=0.3')
    assert re.search(r"'(north|south)_': \d in training, \d in validation", text)
    assert 'split.mode=groups' in text
    assert warnings('split.mode=groups', 'split.val_groups=north') == []


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


def relabelled(source, folder, split, change=lambda text: text):
    """A copy of a split without splits of its own, lighter by one so that no image is the same."""
    for kind in ('images', 'labels'):
        (folder / kind).mkdir(parents=True)
        for path in (source / kind / split).iterdir():
            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            image = cv2.add(image, 1) if kind == 'images' else image
            cv2.imwrite(str(folder / kind / path.name), image)
    (folder / 'classes.yaml').write_text(change((source / 'classes.yaml').read_text()))
    return folder


@pytest.mark.parametrize('mode', ['given', 'random'])
def test_extra_data_are_trained_on_and_never_validated_on(data_folder, tmp_path, mode):
    extra = relabelled(data_folder, tmp_path / 'extra', 'val')
    plain = build_split(config(f'data={data_folder}', f'split.mode={mode}'))
    given = [f'data={data_folder}', f'split.mode={mode}']
    given += [f'extra_data=[{{data: {extra}, repeat: 3}}]']
    split = build_split(config(*given))
    own = len(plain.train)
    assert split.train_indices == (*plain.train_indices, own, own + 1, own + 2)
    assert (split.val.names, split.val_indices) == (plain.val.names, plain.val_indices)
    sample, source = split.train[own + 1], build_dataset('folder', extra)[1]
    assert sample.name == split.train.names[own + 1] == f'extra_data.0/{source.name}'
    np.testing.assert_array_equal(sample.image, source.image)
    np.testing.assert_array_equal(split.train[2].image, plain.train[2].image)
    split.save(tmp_path / 'splits.json')
    again = build_split(config(*given, 'seed=9'), tmp_path / 'splits.json')
    assert again.train_indices == split.train_indices


def test_an_epoch_draws_extra_images_as_often_as_asked(data_folder, tmp_path):
    extra = relabelled(data_folder, tmp_path / 'extra', 'val')
    given = [f'data={data_folder}', f'extra_data=[{{data: {extra}, repeat: 4}}]']
    stores = open_stores(build_split(config(*given)))
    assert len(stores['train']) == 13
    batches = TrainingBatches(
        stores['train'],
        build_augmentation(config()),
        (32, 48),
        (0, 0, 0),
        batch_size=1,
        seed=0,
    )
    assert batches.steps_per_epoch == 10 + 4 * 3
    drawn = [next(batches.read(0, step)) for step in range(batches.steps_per_epoch)]
    assert len({int(batch.seeds) for batch in drawn}) == 22  # every draw is augmented anew
    plain = survey_splits(open_stores(build_split(config(given[0]))))
    extra_only = ImageStore(build_dataset('folder', extra), range(3))
    survey, added = survey_splits(stores), survey_splits({'train': extra_only})
    expected = plain.splits['train'].pixels + 4 * added.splits['train'].pixels
    assert survey.splits['train'].pixels.tolist() == expected.tolist()
    assert survey.problems == []


def test_an_extra_image_that_also_validates_is_a_problem(data_folder):
    given = f'extra_data=[{{data: {data_folder}, split: val}}]'
    survey = survey_splits(open_stores(build_split(config(f'data={data_folder}', given))))
    assert 'train/extra_data.0/val/000.png' in survey.problems[0]


def test_extra_data_of_other_classes_are_refused(data_folder, tmp_path):
    extra = relabelled(
        data_folder, tmp_path / 'extra', 'val', lambda text: text.replace('ball', 'puck')
    )
    with pytest.raises(ValueError, match=r'extra_data\.0 differ in .*puck'):
        build_split(config(f'data={data_folder}', f'extra_data=[{{data: {extra}}}]'))
