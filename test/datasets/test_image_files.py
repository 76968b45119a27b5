from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from seg_ros.datasets import build_dataset
from seg_ros.datasets.image_files import map_colors, map_ids
from seg_ros.image_files import load_image, load_mask
from test.datasets.conftest import blocks, picture, write, write_folder_of_ids, write_robocup

MASK = Path('mask.png')


def test_a_palette_gives_ids_not_colours(tmp_path):
    labels = blocks(np.uint8([0, 5, 255]))
    stored = Image.fromarray(labels, 'P')
    stored.putpalette([i * 7 % 256 for i in range(768)])
    stored.save(tmp_path / 'mask.png')
    np.testing.assert_array_equal(load_mask(tmp_path / 'mask.png'), labels)


def test_images_are_rgb(tmp_path):
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0] = 200
    write(tmp_path / 'red.png', image)
    np.testing.assert_array_equal(load_image(tmp_path / 'red.png'), image)


def test_a_broken_image_is_named(tmp_path):
    write(tmp_path / 'a.png', picture(0))
    data = (tmp_path / 'a.png').read_bytes()
    (tmp_path / 'a.png').write_bytes(data[: len(data) // 8])
    with pytest.raises(ValueError, match=r'a\.png cannot be decoded'):
        load_image(tmp_path / 'a.png')


def test_unknown_ids_are_named_or_become_void_with_a_remark():
    mask = blocks(np.uint8([0, 1, 77]))
    with pytest.raises(ValueError, match=r'mask\.png: ids 77 belong to no class'):
        map_ids(mask, {0: 0, 1: 1}, MASK)
    labels, remarks = map_ids(mask, {0: 0, 1: 1}, MASK, unknown_is_void=True)
    np.testing.assert_array_equal(labels, blocks(np.uint8([0, 1, 255])))
    assert len(remarks) == 1
    assert '77' in remarks[0]


def test_ids_of_16_bits_are_mapped():
    mask = blocks(np.uint16([0, 300]))
    labels, _ = map_ids(mask, {0: 2, 300: 4}, MASK)
    np.testing.assert_array_equal(labels, blocks(np.uint8([2, 4])))


def test_unknown_colours_are_named_with_their_number():
    mask = np.zeros((4, 4, 3), np.uint8)
    mask[0, 0] = (1, 2, 3)
    with pytest.raises(ValueError, match=r'1 colours on 1 pixels .* such as \(1, 2, 3\)'):
        map_colors(mask, {(0, 0, 0): 0}, MASK)
    labels, remarks = map_colors(mask, {(0, 0, 0): 0}, MASK, unknown_is_void=True)
    assert labels[0, 0] == 255
    assert labels[1:].max() == 0
    assert len(remarks) == 1


def test_a_lossy_mask_is_remarked(tmp_path):
    fixture = write_robocup(tmp_path)
    flat = np.full((24, 32), 3, np.uint8)
    (tmp_path / 'masks/frame1.png').unlink()
    assert cv2.imwrite(str(tmp_path / 'masks/frame1.jpg'), flat)
    sample = build_dataset(fixture.name, tmp_path)[1]
    assert 'store masks as PNG' in sample.remarks[0]


def test_sizes_that_differ_are_named(tmp_path):
    fixture = write_folder_of_ids(tmp_path)
    write(tmp_path / 'labels/val/1.png', np.zeros((12, 16), np.uint8))
    with pytest.raises(ValueError, match=r'1\.png has .* \(24, 32\) and its mask \(12, 16\)'):
        build_dataset('folder', tmp_path, fixture.split)[1]


def test_images_without_mask_are_named(tmp_path):
    write_folder_of_ids(tmp_path)
    (tmp_path / 'labels/val/2.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 images .* have no mask .* val/2'):
        build_dataset('folder', tmp_path)


TWO = 'classes: [{name: a, color: [0, 0, 0]}, {name: b, color: [9, 9, 9]}]'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('classes: [{name: a, color: [0, 0, 0]}]', 'at least 2'),
        ('classes: [{name: a, color: [0, 0]}, {name: b, color: [1, 1, 1]}]', 'wrong entry'),
        ('classes: [{name: a, color: [0, 0, 0]}, {name: b, color: [0, 0, 0]}]', 'share a color'),
        ('classes: []\ncolours: []', 'unknown keys'),
        ('- 1', 'expected a mapping'),
        ('classes: [', 'is no YAML'),
        ('classes: ' + '[' * 5000, 'nested too deep'),
        ('classes: !!python/object/apply:os.getcwd []', 'is no YAML'),
        ('classes: &a [1]\nvoid_ids: *a', 'aliases are not allowed'),
        ('classes: !!timestamp x', 'is no YAML'),
        ('#' * (1 << 21), 'has 2097152 bytes'),
        ('classes: 7', 'give a list'),
        (f'{TWO}\nvoid_ids: 7', 'void_ids is 7.*give a list'),
        (f'{TWO}\nvoid_ids: [x]', "'x' is no whole number"),
        (f'{TWO}\nvoid_ids: [1.5]', '1.5 is no whole number'),
        (f'{TWO}\nvoid_ids: [1]', r'void_ids \[1\] belong to classes'),
        (f'{TWO}\nvoid_colors: [7]', 'void_colors is'),
        (f'{TWO}\nvoid_colors: [[0, 0, 300]]', 'allowed are 0 to 255'),
        ('classes: [{name: a, color: [0, 0, 0], id: yes}]', 'True is no whole number'),
    ],
)
def test_a_wrong_list_of_classes_is_explained(tmp_path, text, message):
    write_folder_of_ids(tmp_path)
    (tmp_path / 'classes.yaml').write_text(text)
    with pytest.raises(ValueError, match=message):
        build_dataset('folder', tmp_path)


def test_list_files_are_splits(tmp_path):
    write_folder_of_ids(tmp_path)
    (tmp_path / 'train.txt').write_text('val/0\nval/2.png\n')
    assert build_dataset('folder', tmp_path, 'train').names == ('val/0.png', 'val/2.png')
