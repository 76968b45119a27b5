from __future__ import annotations

import dataclasses

import pytest
import yaml

from seg_ros.model_card import (
    CARD_FILE,
    GRAPH_FILE,
    INT8_GRAPH_FILE,
    ClassInfo,
    InputSpec,
    Variant,
    load_model_card,
    save_model_card,
)
from test.conftest import PRIMARY_CLASSES, write_primary_model


@pytest.fixture
def folder(tmp_path):
    return write_primary_model(tmp_path / 'model')


def edit(folder, change):
    path = folder / CARD_FILE
    raw = yaml.safe_load(path.read_text(encoding='utf-8'))
    change(raw)
    path.write_text(yaml.safe_dump(raw), encoding='utf-8')


def test_a_written_card_is_read_back(folder, tmp_path):
    card = load_model_card(folder)
    assert card.classes == PRIMARY_CLASSES
    assert card.folder == folder
    assert card.file(GRAPH_FILE) == folder / GRAPH_FILE
    before = (folder / CARD_FILE).read_bytes()
    save_model_card(card, folder)
    assert (folder / CARD_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda raw: raw.pop('classes'), r"missing \['classes'\]"),
        (lambda raw: raw.update(colour='red'), r"unknown \['colour'\]"),
        (lambda raw: raw.update(schema=2), 'schema 2; this version of seg_ros reads 1'),
        (lambda raw: raw.update(void_id=0), 'void_id 0; it is always 255'),
        (lambda raw: raw.update(name='../x'), "model name '../x'"),
        (lambda raw: raw.update(files={}), 'files must map'),
        (lambda raw: raw.update(temperature=0), 'temperature 0.0 must be above 0'),
        (lambda raw: raw['classes'].pop(), None),
        (lambda raw: raw.update(classes=raw['classes'][:1]), '1 classes; allowed are 2'),
        (lambda raw: raw['classes'][0].update(id=1), 'two classes have the same id'),
        (lambda raw: raw['classes'][0].update(id=255), 'outside 0..254'),
        (lambda raw: raw['classes'][0].update(name='Traffic Light'), 'class name'),
        (lambda raw: raw['classes'][0].update(color=[1, 2]), 'wrong or missing field|not enough'),
        (lambda raw: raw['classes'][0].update(color=[1, 2, 256]), 'give r, g, b in 0..255'),
        (lambda raw: raw['input'].update(height_px=50), 'no multiple of logits_stride'),
        (lambda raw: raw['input'].update(width_px=100_000), 'allowed are 16 to 8192'),
        (lambda raw: raw['input'].update(std=[0, 1, 1]), 'std above 0'),
        (lambda raw: raw['input'].update(depth=3), 'wrong or missing field'),
        (lambda raw: raw['files'].update({'../secret': '0' * 64}), 'must be a plain name'),
        (lambda raw: raw['files'].update({CARD_FILE: '0' * 64}), 'must be a plain name'),
        (lambda raw: raw['files'].update({GRAPH_FILE: 'abc'}), 'not 64 hex digits'),
        (lambda raw: raw['files'].update({GRAPH_FILE: '0' * 64}), 'does not match its card'),
    ],
)
def test_wrong_cards_are_refused(folder, change, message):
    edit(folder, change)
    if message is None:  # two of three classes are still a card
        assert load_model_card(folder).num_classes == 2
        return
    with pytest.raises(ValueError, match=message):
        load_model_card(folder)


def test_a_changed_file_is_noticed(folder):
    graph = folder / GRAPH_FILE
    graph.write_bytes(graph.read_bytes() + b'\0')
    with pytest.raises(ValueError, match='does not match its card'):
        load_model_card(folder)


def test_missing_files_are_named(folder, tmp_path):
    (folder / GRAPH_FILE).unlink()
    with pytest.raises(FileNotFoundError, match='is listed on the card and missing'):
        load_model_card(folder)
    with pytest.raises(FileNotFoundError, match='is no model folder'):
        load_model_card(tmp_path / 'nowhere')


def test_links_out_of_the_folder_are_refused(folder, tmp_path):
    target = tmp_path / 'elsewhere.onnx'
    (folder / GRAPH_FILE).rename(target)
    (folder / GRAPH_FILE).symlink_to(target)
    with pytest.raises(ValueError, match='link out of the model folder'):
        load_model_card(folder)


def test_a_folder_of_links_into_one_other_folder_is_that_folder(folder, tmp_path):
    installed = tmp_path / 'installed'  # as colcon build --symlink-install makes it
    installed.mkdir()
    for file in folder.iterdir():
        (installed / file.name).symlink_to(file)
    assert load_model_card(installed).classes == PRIMARY_CLASSES


@pytest.mark.parametrize(
    'text',
    [
        '!!python/object/apply:os.system ["true"]',
        'a: &a [x, x]\nb: [*a, *a]',
        '{' * 100_000,
        '\x00',
        'just a string',
        '- a list',
    ],
    ids=['tag', 'alias', 'depth', 'binary', 'string', 'list'],
)
def test_hostile_yaml_is_refused(folder, text):
    (folder / CARD_FILE).write_text(text, encoding='utf-8')
    with pytest.raises(ValueError, match=r'model\.yaml'):
        load_model_card(folder)


def test_a_huge_card_is_not_parsed(folder):
    (folder / CARD_FILE).write_text('#' * (1 << 21), encoding='utf-8')
    with pytest.raises(ValueError, match='allowed are 65536'):
        load_model_card(folder)


def test_values_are_checked_where_they_are_made():
    with pytest.raises(ValueError, match='class id -1'):
        ClassInfo(-1, 'x', (0, 0, 0))
    with pytest.raises(ValueError, match='height_px is 8'):
        InputSpec(height_px=8, width_px=64)


def test_variants_are_read_back_and_checked(folder):
    card = load_model_card(folder)
    producer = b'\x12\x01x'  # of ModelProto; no more than that is another
    (folder / INT8_GRAPH_FILE).write_bytes((folder / GRAPH_FILE).read_bytes() + producer)
    variant = Variant(INT8_GRAPH_FILE, 'mean_iou', 0.78, 0.8, 'val', 'train')
    card = dataclasses.replace(
        card, files={**card.files, INT8_GRAPH_FILE: ''}, variants={'int8': variant}
    )
    save_model_card(card, folder)
    card = load_model_card(folder)
    assert card.variants == {'int8': variant}
    assert variant.loss_points == pytest.approx(2.0)
    assert card.read_graph('int8') == (folder / INT8_GRAPH_FILE).read_bytes()
    whole = (folder / GRAPH_FILE).read_bytes()
    assert card.read_graph('fp32') == card.read_graph('bf16') == whole
    assert {path.name for path in folder.iterdir()} == {CARD_FILE, GRAPH_FILE, INT8_GRAPH_FILE}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'int4': {}}, 'wrong or missing field'),
        ({'int8': {'file': 'other.onnx'}}, "'other.onnx': allowed is int8, with one of the files"),
        ({'int8': {'metric': 'speed'}}, "metric 'speed'; allowed are mean_iou"),
        ({'int8': {'score': 2}}, r'must lie in 0\.\.1'),
        ({'int8': {'colour': 'red'}}, 'wrong or missing field'),
    ],
)
def test_wrong_variants_are_refused(folder, change, message):
    valid = {
        'file': GRAPH_FILE,
        'metric': 'mean_iou',
        'score': 0.78,
        'fp32_score': 0.8,
        'measured_on': 'val',
        'calibrated_on': 'train',
    }
    variants = {key: {**valid, **each} if each else {} for key, each in change.items()}
    edit(folder, lambda raw: raw.update(variants=variants))
    with pytest.raises(ValueError, match=message):
        load_model_card(folder)
