"""Forms of folders and masks that people have."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from seg_ros.cli import main
from seg_ros.datasets import build_dataset

CLASSES = """classes:
- {id: 0, name: floor, color: [10, 200, 10]}
- {id: 1, name: ball, color: [255, 128, 0]}
"""
IDS = np.array([[0, 1, 255], [1, 1, 0]], np.uint8)


def write(folder, mask, *, labels='labels', ending='', classes=CLASSES, split=''):
    for name, file, pixels in (
        ('images', 'a.png', np.full((2, 3, 3), 90, np.uint8)),
        (labels, f'a{ending}.png', mask),
    ):
        (folder / name / split).mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name / split / file), pixels)
    (folder / 'classes.yaml').write_text(classes)
    return folder


@pytest.mark.parametrize('split', ['', 'train'])
@pytest.mark.parametrize(
    ('labels', 'ending'),
    [
        ('labels', ''),
        ('masks', ''),
        ('annotations', '_gt'),
        ('masks', '_mask'),
        ('labels', '_seg'),
    ],
)
def test_masks_are_found_under_the_names_that_they_have(tmp_path, labels, ending, split):
    write(tmp_path, IDS, labels=labels, ending=ending, split=split)
    dataset = build_dataset('folder', tmp_path, split or 'all')
    np.testing.assert_array_equal(dataset[0].labels, IDS)
    assert not dataset.remarks


def test_an_image_whose_own_name_ends_like_a_mask_keeps_its_mask(tmp_path):
    write(tmp_path, IDS)
    write(tmp_path, 1 - np.minimum(IDS, 1), ending='_mask')
    np.testing.assert_array_equal(build_dataset('folder', tmp_path)[0].labels, IDS)


def test_greys_of_three_channels_are_ids(tmp_path):
    write(tmp_path, np.repeat(IDS[..., np.newaxis], 3, axis=2))
    np.testing.assert_array_equal(build_dataset('folder', tmp_path)[0].labels, IDS)


def test_greys_that_are_the_colours_of_classes_are_colours(tmp_path):
    grey = CLASSES.replace('[10, 200, 10]', '[1, 1, 1]').replace('[255, 128, 0]', '[0, 0, 0]')
    mask = np.repeat(np.minimum(IDS, 1)[..., np.newaxis], 3, axis=2)
    write(tmp_path, mask, classes=grey)
    expected = 1 - np.minimum(IDS, 1)
    np.testing.assert_array_equal(build_dataset('folder', tmp_path)[0].labels, expected)


@pytest.mark.parametrize('in_colors', [False, True])
def test_what_no_class_has_is_an_error_until_it_is_declared_void(tmp_path, in_colors):
    mask = np.where(IDS == 255, 7, IDS).astype(np.uint8)
    if in_colors:
        mask = np.array([[10, 200, 10], [0, 128, 255], [3, 4, 5]], np.uint8)[np.minimum(IDS, 2)]
    write(tmp_path, mask)
    with pytest.raises(ValueError, match=r'a\.png'):
        _ = build_dataset('folder', tmp_path)[0]
    write(tmp_path, mask, classes=CLASSES + 'unknown: void\n')
    sample = build_dataset('folder', tmp_path)[0]
    np.testing.assert_array_equal(sample.labels, IDS)
    assert 'became void' in sample.remarks[0]
    write(tmp_path, mask, classes=CLASSES + 'unknown: maybe\n')
    with pytest.raises(ValueError, match="unknown is 'maybe'; allowed are error, void"):
        build_dataset('folder', tmp_path)


COLORED = np.array([[10, 200, 10], [0, 128, 255], [3, 4, 5]], np.uint8)[np.minimum(IDS, 2)]


@pytest.mark.parametrize(
    ('mask', 'expected', 'shares'),
    [
        (IDS, [0, 1, 255], ['33.33', '50.00', '255 is void: 16.67']),
        (np.where(IDS == 1, 255, 0).astype(np.uint8), [0, 1], ['values: [255]}  # 50.00']),
        (COLORED, [0, 1, 2], ['color: [255, 128, 0]}  # 50.00']),
    ],
)
def test_missing_classes_are_proposed_and_can_be_trained_on(
    tmp_path, capsys, mask, expected, shares
):
    write(tmp_path, mask)
    write(tmp_path, mask)
    (tmp_path / 'classes.yaml').unlink()
    with pytest.raises(FileNotFoundError, match='--propose-classes'):
        build_dataset('folder', tmp_path)
    main(['check-data', '--propose-classes', f'data={tmp_path}', 'split.mode=all'])
    text = (tmp_path / 'classes.yaml').read_text()
    assert text in capsys.readouterr().out
    assert all(share in text for share in shares)
    labels = build_dataset('folder', tmp_path)[0].labels
    assert np.unique(labels).tolist() == expected
    main(['check-data', '--propose-classes', f'data={tmp_path}', 'split.mode=all'])
    assert 'stays as it is' in capsys.readouterr().out
