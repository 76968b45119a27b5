import cv2
import numpy as np
import pytest
import yaml

from seg_ros import cli
from seg_ros.datasets import build_dataset
from seg_ros.training.data_check import survey_splits
from seg_ros.training.loader import ImageStore
from test.training.conftest import write_folder


def survey_of(folder, **options):
    stores = {}
    for split in ('train', 'val'):
        dataset = build_dataset('folder', folder, split)
        stores[split] = ImageStore(dataset, range(len(dataset)))
    return survey_splits(stores, **options), stores


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / 'data')


def change_mask(folder, name, change):
    path = folder / 'labels' / name
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(path), change(mask))


def test_counts_pixels_images_and_sizes(folder):
    survey, _ = survey_of(folder)
    assert survey.problems == []
    dataset = build_dataset('folder', folder, 'train')
    labels = [dataset[i].labels for i in range(len(dataset))]
    found = survey.splits['train']
    for channel, class_id in enumerate((0, 1, 4)):
        assert found.pixels[channel] == sum((each == class_id).sum() for each in labels)
        holding = [each for each in labels if (each == class_id).any()]
        assert found.images_where_present[channel] == len(holding)
        expected = sum((each != 255).sum() for each in holding)
        assert found.pixels_where_present[channel] == expected
    assert found.void_pixels == sum((each == 255).sum() for each in labels)
    assert found.sizes == {(36, 48): 5, (40, 48): 5}


def test_keeps_decoded_images(folder, monkeypatch):
    _, stores = survey_of(folder, keep=True)
    dataset = stores['train'].dataset
    expected = dataset[3].image
    monkeypatch.setattr(type(dataset), '__getitem__', lambda *_: pytest.fail('read again'))
    image, channels = stores['train'][3]
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected)
    assert set(np.unique(channels.numpy())) <= {0, 1, 2, 255}  # id 4 is channel 2


def test_reads_only_so_many_images_where_asked(folder):
    survey, _ = survey_of(folder, max_images=4)
    assert survey.splits['train'].images == 4


def test_names_every_broken_file_and_the_cure(folder):
    change_mask(folder, 'train/001.png', lambda mask: np.where(mask == 1, 9, mask))
    change_mask(folder, 'train/004.png', lambda mask: mask[::2])
    (folder / 'images/val/000.png').write_bytes(b'no image')
    survey, _ = survey_of(folder)
    text = '\n'.join(survey.problems)
    assert len(survey.problems) == 3
    assert 'train/001.png: ids 9 belong to no class' in text
    assert 'Add them to the classes or declare them void' in text
    assert 'train/004.png has (rows, columns)' in text
    assert 'val/000.png cannot be decoded' in text


def test_the_same_image_on_both_sides_is_a_problem(folder):
    for kind in ('images', 'labels'):
        data = (folder / kind / 'train/002.png').read_bytes()
        (folder / kind / 'val/copy.png').write_bytes(data)
    survey, _ = survey_of(folder)
    assert len(survey.problems) == 1
    assert 'train/train/002.png, val/val/copy.png' in survey.problems[0]


def test_neighbouring_frames_on_both_sides_are_a_warning(folder):
    image = cv2.imread(str(folder / 'images/train/002.png'))
    cv2.imwrite(str(folder / 'images/val/near.png'), np.clip(image.astype(int) + 1, 0, 255))
    mask = (folder / 'labels/train/002.png').read_bytes()
    (folder / 'labels/val/near.png').write_bytes(mask)
    survey, _ = survey_of(folder)
    assert survey.problems == []
    assert any('val/near.png' in text and 'blocked' in text for text in survey.warnings)


def test_a_class_without_training_pixels_is_a_problem_unless_allowed(folder):
    raw = yaml.safe_load((folder / 'classes.yaml').read_text())
    raw['classes'].append({'id': 9, 'name': 'goal', 'color': [1, 1, 1]})
    (folder / 'classes.yaml').write_text(yaml.safe_dump(raw))
    message = "train: no pixel of class 'goal' (id 9); it cannot be learned"
    survey, _ = survey_of(folder)
    assert message in '\n'.join(survey.problems)
    survey, _ = survey_of(folder, allow_missing_classes=True)
    assert survey.problems == []
    assert message in '\n'.join(survey.warnings)


def test_the_command_prints_the_histogram_and_fails_for_broken_data(folder, capsys, tmp_path):
    settings = ['dataset=folder', f'data={folder}']
    assert cli.main(['check-data', *settings, '--json', str(tmp_path / 'found.json')]) == 0
    output = capsys.readouterr().out
    assert 'no problem found' in output
    assert 'ball' in output
    assert (tmp_path / 'found.json').is_file()
    change_mask(folder, 'train/001.png', lambda mask: np.where(mask == 1, 9, mask))
    assert cli.main(['check-data', *settings]) == 1
    assert 'PROBLEM: train:' in capsys.readouterr().out


def test_training_refuses_broken_data_before_anything_is_written(folder, tmp_path, capsys):
    change_mask(folder, 'val/001.png', lambda mask: np.where(mask == 1, 9, mask))
    run = tmp_path / 'run'
    settings = [f'data={folder}', 'net=tiny_net', 'device=cpu']
    assert cli.main(['train', '--run-folder', str(run), *settings]) == 2
    assert 'must be mended' in capsys.readouterr().err
    assert not run.exists()


def test_masks_of_0_and_255_stop_a_training(folder, tiny_settings, tmp_path, capsys):
    for name in (f'{split}/{i:03d}.png' for split in ('train', 'val') for i in range(10)):
        if (folder / 'labels' / name).exists():
            change_mask(folder, name, lambda mask: np.where(mask == 1, 255, 0).astype(np.uint8))
    classes = [{'name': 'ground', 'color': [0, 0, 0]}, {'name': 'ball', 'color': [255, 0, 0]}]
    (folder / 'classes.yaml').write_text(yaml.safe_dump({'classes': classes}))
    run = ['--quiet', '--run-folder', str(tmp_path / 'run')]
    settings = [*tiny_settings, f'data={folder}', 'max_steps=1', 'report_images=0']
    assert cli.main(['train', *run, *settings]) == 2
    assert "no pixel of class 'ball'" in (message := capsys.readouterr().err)
    assert 'values: [255]' in message
    assert cli.main(['check-data', *settings]) == 1
    assert cli.main(['check-data', *settings, 'allow_missing_classes=true']) == 0

    classes[1]['values'] = [255]
    (folder / 'classes.yaml').write_text(yaml.safe_dump({'classes': classes}))
    assert cli.main(['check-data', *settings]) == 0
    assert cli.main(['train', *run, *settings]) == 0


def test_a_class_that_a_sample_of_the_images_lacks_is_a_warning(folder):
    for i in range(1, 10):
        change_mask(folder, f'train/{i:03d}.png', lambda mask: mask * (mask != 1))
    survey, _ = survey_of(folder)
    assert survey.problems == []  # image 0 shows the ball
    change_mask(folder, 'train/000.png', lambda mask: mask * (mask != 1))
    survey, _ = survey_of(folder)
    assert 'no pixel of class' in survey.problems[0]
    survey, _ = survey_of(folder, max_images=2)
    assert survey.problems == []
    assert any('train: no pixel of class' in warning for warning in survey.warnings)
