"""Masks as tools store them: palettes of ids, palettes of colours, values of 0 and 255."""

import numpy as np
import pytest
import yaml
from PIL import Image

from seg_ros.datasets import build_dataset
from test.datasets.conftest import blocks, picture, write

CLASSES = [
    {'id': 0, 'name': 'ground', 'color': [0, 0, 0]},
    {'id': 1, 'name': 'ball', 'color': [255, 128, 0]},
    {'id': 2, 'name': 'line', 'color': [255, 255, 255]},
]
COLORS = [entry['color'] for entry in CLASSES]
VOC = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
TRUTH = blocks(np.uint8([0, 1, 2]))


def folder_of(tmp_path, mask, classes=CLASSES, **others):
    """A data set of one image with the mask, given as an image or as an array."""
    write(tmp_path / 'images/a.png', picture(0))
    (tmp_path / 'labels').mkdir()
    stored = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
    stored.save(tmp_path / 'labels/a.png')
    (tmp_path / 'classes.yaml').write_text(yaml.safe_dump({'classes': classes, **others}))
    return tmp_path


def indexed(mask, palette):
    """A mask whose pixels are indices into a palette of colours."""
    stored = Image.frombytes('P', mask.shape[::-1], mask.tobytes())
    stored.putpalette([value for color in palette for value in color])
    return stored


def labels_of(folder, **options):
    return build_dataset('folder', folder, options=options)[0].labels


@pytest.mark.parametrize('order', [(0, 1, 2), (2, 1, 0), (1, 2, 0)], ids=str)
def test_colours_of_classes_count_in_any_order_of_the_palette(tmp_path, order):
    index_of = np.uint8([order.index(class_id) for class_id in range(3)])
    mask = indexed(index_of[TRUTH], [COLORS[class_id] for class_id in order])
    np.testing.assert_array_equal(labels_of(folder_of(tmp_path, mask)), TRUTH)


def test_a_mask_that_pillow_quantised_keeps_its_classes(tmp_path):
    mask = Image.fromarray(np.uint8(COLORS)[TRUTH]).quantize(3)
    assert mask.mode == 'P'
    np.testing.assert_array_equal(labels_of(folder_of(tmp_path, mask)), TRUTH)


@pytest.mark.parametrize(
    'palette',
    [VOC, [[i, i, i] for i in range(256)], [[0, 0, 0]] * 256, [*COLORS[:2], [9, 9, 9]]],
    ids=['of a tool', 'grey', 'empty', 'partly the colours of the classes'],
)
def test_ids_count_where_no_colour_speaks_against(tmp_path, palette):
    mask = indexed(TRUTH, palette)
    np.testing.assert_array_equal(labels_of(folder_of(tmp_path, mask)), TRUTH)


def test_a_contradiction_is_refused_until_the_user_says_what_counts(tmp_path):
    folder = folder_of(tmp_path, indexed(TRUTH, [[0, 0, 0], [255, 255, 255], [9, 9, 9]]))
    with pytest.raises(ValueError, match=r'a\.png: its palette contradicts .*palette: ids'):
        labels_of(folder)
    np.testing.assert_array_equal(labels_of(folder, palette='ids'), TRUTH)
    with pytest.raises(ValueError, match=r'1 colours on .* such as \(9, 9, 9\)'):
        labels_of(folder, palette='colors')
    with pytest.raises(ValueError, match='allowed are auto, ids, colors'):
        labels_of(folder, palette='colours')


def test_void_may_be_a_colour_of_the_palette(tmp_path):
    mask = indexed(TRUTH, [[255, 255, 255], [7, 7, 7], [0, 0, 0]])
    folder = folder_of(tmp_path, mask, void_colors=[[7, 7, 7]])
    np.testing.assert_array_equal(labels_of(folder), np.uint8([2, 255, 0])[TRUTH])


def test_values_say_what_stored_numbers_mean(tmp_path):
    classes = [CLASSES[0], {**CLASSES[1], 'values': [255]}, {**CLASSES[2], 'values': [7, 128]}]
    stored = blocks(np.uint8([0, 255, 7, 128]))
    folder = folder_of(tmp_path, stored, classes)
    np.testing.assert_array_equal(labels_of(folder), blocks(np.uint8([0, 1, 2, 2])))


@pytest.mark.parametrize(
    ('values', 'message'),
    [(255, 'give a list'), (['a'], 'give a list'), ([-1], 'give a list'), ([0], 'mean two')],
)
def test_wrong_values_are_explained(tmp_path, values, message):
    classes = [CLASSES[0], {**CLASSES[1], 'values': values}]
    folder_of(tmp_path, TRUTH, classes)
    with pytest.raises(ValueError, match=rf'classes\.yaml.*{message}'):
        build_dataset('folder', tmp_path)


def test_frame_two_comes_before_frame_ten(tmp_path):
    (tmp_path / 'classes.yaml').write_text(yaml.safe_dump({'classes': CLASSES}))
    for number in (1, 2, 10, 20, 3):
        write(tmp_path / f'images/cam2/frame{number}.png', picture(number))
        write(tmp_path / f'labels/cam2/frame{number}.png', TRUTH)
    write(tmp_path / 'images/cam10/a.png', picture(0))
    write(tmp_path / 'labels/cam10/a.png', TRUTH)
    frames = [f'cam2/frame{number}.png' for number in (1, 2, 3, 10, 20)]
    assert build_dataset('folder', tmp_path).names == (*frames, 'cam10/a.png')
