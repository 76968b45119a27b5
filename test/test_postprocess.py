from __future__ import annotations

import cv2
import numpy as np
import pytest

from seg_ros.model_card import ClassInfo
from seg_ros.postprocess import (
    Postprocessor,
    areas_by_id,
    load_self_mask,
    parse_mapping,
    remap_classes,
    remove_specks,
)

CLASSES = (
    ClassInfo(0, 'background', (0, 0, 0)),
    ClassInfo(1, 'ball', (255, 0, 0)),
    ClassInfo(2, 'line', (255, 255, 255)),
    ClassInfo(3, 'field', (0, 255, 0)),
)
LABELS = np.array([[0, 1, 2, 3, 255]], np.uint8)


def ids(class_map):
    return {entry.name: entry.id for entry in class_map.classes}


@pytest.mark.parametrize(
    ('entries', 'left', 'labels'),
    [
        (['line: field'], {'background': 0, 'ball': 1, 'field': 3}, [0, 1, 3, 3, 255]),
        (['line: void', ' ball:void '], {'background': 0, 'field': 3}, [0, 255, 255, 3, 255]),
        (['ball: 3', 'field: 1'], {'background': 0, 'field': 1, 'line': 2, 'ball': 3},
         [0, 3, 2, 1, 255]),
        (['line: ground', 'field: ground', 'ground: 9'],
         {'background': 0, 'ball': 1, 'ground': 9}, [0, 1, 9, 9, 255]),
        (['line: field', 'field: 7'], {'background': 0, 'ball': 1, 'field': 7},
         [0, 1, 7, 7, 255]),
    ],
)  # fmt: skip
def test_classes_are_merged_dropped_renamed_and_numbered(entries, left, labels):
    class_map = remap_classes(CLASSES, parse_mapping('class_remap', entries))
    assert ids(class_map) == left
    np.testing.assert_array_equal(class_map.table[LABELS][0], labels)


def test_a_merged_class_keeps_the_colour_of_its_target():
    class_map = remap_classes(CLASSES, {'line': 'field'})
    assert class_map.classes[-1] == CLASSES[3]


@pytest.mark.parametrize(
    ('entries', 'message'),
    [
        (['lime: field'], "no class 'lime'; there are background, ball, line, field"),
        (['lime: 3'], "no class 'lime' to number"),
        (['line: 3'], 'would share the id 3'),
        (['ball: 255'], 'outside 0..254'),
        (['ball: -1'], 'outside 0..254'),
        (['ball: 99999999999999999999'], 'lower-case'),
        (['ball: 1.5'], "'1.5': use lower-case"),
        (['ball: ~'], 'lower-case'),
        (['line: field', 'field: ground'], 'name where line ends up'),
        (['background: void', 'ball: void', 'line: void', 'field: void'], 'drops every class'),
        (['line: Field Marking'], 'lower-case'),
        ([f'line: {"f" * 65}'], '64 at most'),
        (['line'], "'line' is not of the form 'class: value'"),
        (['line:'], "'line:' is not of the form"),
        ([': field'], 'is not of the form'),
        (['{line: field, ball: 3}'], 'is not of the form'),
        (['line: &a [*a, *a]'], 'lower-case'),
        (['line: !!bool x'], 'lower-case'),
        (['line: field', 'line: ball'], "'line' comes twice"),
        (['a: b'] * 256, '256 entries; allowed are 255'),
    ],
)
def test_a_wrong_remap_is_refused_with_the_reason(entries, message):
    with pytest.raises(ValueError, match=message):
        remap_classes(CLASSES, parse_mapping('class_remap', entries))


@pytest.mark.parametrize(
    'entry', ['x' * 100_000, f'{"x" * 100_000}: field', f'line: {"x" * 9999}']
)
def test_what_is_quoted_back_is_short(entry):
    with pytest.raises(ValueError, match='xxx') as caught:
        remap_classes(CLASSES, parse_mapping('class_remap', [entry]))
    assert len(str(caught.value)) < 300


def test_nothing_asked_for_costs_and_changes_nothing():
    labels = LABELS.copy()
    postprocessor = Postprocessor(CLASSES)
    assert postprocessor.apply(labels) is labels
    assert postprocessor.classes == CLASSES
    np.testing.assert_array_equal(labels, LABELS)


def test_specks_become_void_class_by_class():
    labels = np.full((40, 40), 3, np.uint8)
    labels[2:4, 2:4] = 1  # 4 pixels
    labels[10:15, 10:15] = 1  # 25 pixels
    labels[20, 5:25] = 2  # 20 pixels
    labels[30, 30] = labels[31, 31] = 2  # touch by a corner
    expected = labels.copy()
    expected[2:4, 2:4] = 255
    remove_specks(labels, areas_by_id(CLASSES, {'ball': 5}))
    np.testing.assert_array_equal(labels, expected)
    remove_specks(labels, areas_by_id(CLASSES, {'all': 3, 'ball': 0}))
    expected[30, 30] = expected[31, 31] = 255
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize('shape', [(1, 1), (4, 1), (1, 4)])
def test_specks_are_removed_from_images_of_any_size(shape):
    labels = np.full(shape, 1, np.uint8)
    remove_specks(labels, {0: 9, 1: labels.size})
    assert (labels == 1).all()
    remove_specks(labels, {1: labels.size + 1})
    assert (labels == 255).all()


@pytest.mark.parametrize('areas', [{'bell': 3}, {'ball': -1}, {'ball': 'big'}])
def test_wrong_areas_are_refused(areas):
    with pytest.raises(ValueError, match='min_area_px'):
        areas_by_id(CLASSES, areas)


def test_outside_the_region_is_void():
    labels = Postprocessor(CLASSES, roi=(10, 5, 20, 0)).apply(np.full((30, 40), 3, np.uint8))
    assert (labels[5:, 10:30] == 3).all()
    assert (labels == 3).sum() == 25 * 20
    whole = Postprocessor(CLASSES, roi=(0, 0, 900, 900)).apply(np.full((30, 40), 3, np.uint8))
    assert (whole == 3).all()


def test_the_robots_own_body_is_void_at_every_size(tmp_path):
    body = np.zeros((30, 40), np.uint8)
    body[20:, 10:30] = 1  # any non-zero value
    cv2.imwrite(str(tmp_path / 'body.png'), body)
    postprocessor = Postprocessor(CLASSES, self_mask=load_self_mask(tmp_path / 'body.png'))
    for factor in (1, 2, 1):
        labels = postprocessor.apply(np.full((30 * factor, 40 * factor), 3, np.uint8))
        assert (labels[20 * factor :, 10 * factor : 30 * factor] == 255).all()
        assert (labels == 255).sum() == 200 * factor**2


def test_a_self_mask_is_scaled_from_the_picture_after_every_change_of_size():
    body = np.zeros((64, 64), bool)
    body[:, ::2] = True  # a copy of a smaller size has lost the columns
    postprocessor = Postprocessor(CLASSES, self_mask=body)
    for size in ((64, 64), (8, 8), (64, 64)):
        labels = postprocessor.apply(np.zeros(size, np.uint8))
    np.testing.assert_array_equal(labels == 255, body)


def test_an_unusable_self_mask_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='no file'):
        load_self_mask(tmp_path / 'nothing.png')
    (tmp_path / 'text.png').write_text('hello')
    with pytest.raises(ValueError, match=r'cannot be decoded.*give a PNG'):
        load_self_mask(tmp_path / 'text.png')


def test_areas_name_the_classes_after_the_remap():
    postprocessor = Postprocessor(CLASSES, remap={'line': 'field'}, min_area_px={'field': 3})
    labels = postprocessor.apply(np.array([[0, 0, 3, 2, 0, 3, 2, 3]], np.uint8))
    assert labels.tolist() == [[0, 0, 255, 255, 0, 3, 3, 3]]
    with pytest.raises(ValueError, match="no class 'line'"):
        Postprocessor(CLASSES, remap={'line': 'field'}, min_area_px={'line': 3})
