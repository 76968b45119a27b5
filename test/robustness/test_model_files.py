from __future__ import annotations

import pytest
import yaml

from seg_ros.backends import load_backend
from seg_ros.model_card import (
    CARD_FILE,
    GRAPH_FILE,
    WEIGHTS_FILE,
    load_model_card,
    read_model_card,
)
from seg_ros.segmenter import load
from test.conftest import write_primary_model
from test.robustness.model_files import (
    HOSTILE_CARDS,
    HOSTILE_GRAPHS,
    correct_hashes,
    fuzz_model_files,
    hostile_weights,
    write_other_output_name,
    write_reversed_model,
    write_weights,
)
from test.robustness.model_loader import ModelLoader
from test.robustness.tally import table

ENGINES = ('onnxruntime', 'openvino')


@pytest.fixture(scope='module', params=ENGINES)
def loader(request):
    with ModelLoader(request.param) as loader:
        yield loader


@pytest.mark.parametrize('backend', ENGINES)
def test_damaged_folders_are_refused_or_run_as_their_card_says(tmp_path, backend):
    tallies = fuzz_model_files(tmp_path, 60, backend)
    assert not sum(tally.losses for tally in tallies), table(tallies)
    assert all(tally.rejected for tally in tallies)
    assert sum(tally.served for tally in tallies) > 0
    assert not any(tally.served for tally in tallies if 'external data' in tally.name)
    assert all(tally.served for tally in tallies if 'exchanged' in tally.name), table(tallies)


@pytest.mark.parametrize('name', HOSTILE_GRAPHS)
def test_a_graph_that_is_not_what_its_card_says_is_refused(tmp_path, loader, name):
    folder = HOSTILE_GRAPHS[name](tmp_path / 'folder' / 'model')
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - in the engine's own words
        loader.load(folder)
    assert 'does not match its card' not in str(caught.value)  # the hashes are right
    assert str(caught.value)


@pytest.mark.parametrize('name', [n for n in HOSTILE_GRAPHS if 'external' in n or 'memory' in n])
def test_weights_outside_of_the_graph_are_refused_as_such(tmp_path, name):
    folder = HOSTILE_GRAPHS[name](tmp_path / 'folder' / 'model')
    with pytest.raises(ValueError, match='weights in a further file'):
        load_model_card(folder)


@pytest.mark.parametrize('backend', ENGINES)
def test_a_folder_that_was_exchanged_while_it_is_loaded_is_refused(tmp_path, backend):
    folder = write_primary_model(tmp_path / 'primary')
    card = read_model_card(folder)
    other = write_reversed_model(tmp_path / 'reversed')
    for name in (CARD_FILE, GRAPH_FILE):
        (other / name).replace(folder / name)
    with pytest.raises(ValueError, match='does not match its card'):
        load_backend(backend, card)


@pytest.mark.parametrize('backend', ENGINES)
def test_a_graph_of_foreign_names_is_told_what_it_must_look_like(tmp_path, backend):
    folder = write_other_output_name(tmp_path / 'model')
    expected = (
        r"model\.onnx takes 'image' uint8 \(1, 48, 64, 3\) and gives 'scores' float32 "
        r"\(1, 3, 12, 16\); .* must take 'image' uint8 \(1, 48, 64, 3\), the RGB image, and give "
        r"'logits' float32 \(1, 3, 12, 16\)"
    )
    with pytest.raises(ValueError, match=expected):
        load(folder, backend=backend)


@pytest.mark.parametrize('text', HOSTILE_CARDS, ids=range(len(HOSTILE_CARDS)))
def test_hostile_cards_are_refused(tmp_path, text):
    folder = write_primary_model(tmp_path / 'model')
    (folder / CARD_FILE).write_text(text, encoding='utf-8')
    with pytest.raises(ValueError, match=r'model\.yaml') as caught:
        load_model_card(folder)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize('name', ['../model.onnx', '/etc/hostname', 'a/../../x', '..', 'a/b'])
def test_a_card_cannot_name_files_elsewhere(tmp_path, name):
    folder = write_primary_model(tmp_path / 'model')
    (tmp_path / GRAPH_FILE).write_bytes((folder / GRAPH_FILE).read_bytes())
    raw = yaml.safe_load((folder / CARD_FILE).read_text(encoding='utf-8'))
    raw['files'][name] = raw['files'][GRAPH_FILE]
    (folder / CARD_FILE).write_text(yaml.safe_dump(raw), encoding='utf-8')
    with pytest.raises((ValueError, FileNotFoundError), match=r'plain name|missing'):
        load_model_card(folder)


@pytest.mark.parametrize('name', [GRAPH_FILE, CARD_FILE])
def test_links_cannot_lead_elsewhere(tmp_path, name):
    folder = write_primary_model(tmp_path / 'model')
    (folder / name).rename(tmp_path / 'elsewhere')
    (folder / name).symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(ValueError, match='link out of the model folder'):
        load_model_card(folder)


def test_weights_are_never_unpickled_and_their_lies_refused(tmp_path):
    mark = tmp_path / 'unpickled'
    with ModelLoader('torch') as loader:
        for number, data in enumerate(hostile_weights(mark, tmp_path).values()):
            folder = write_weights(tmp_path / f'model{number}', data)
            with pytest.raises(ValueError, match=WEIGHTS_FILE.replace('.', r'\.')):
                loader.load(folder)
    assert not mark.exists()


def test_a_folder_whose_hashes_were_corrected_is_still_judged_by_what_it_computes(tmp_path):
    folder = HOSTILE_GRAPHS['more classes'](tmp_path / 'model')
    correct_hashes(folder)
    with (
        ModelLoader('onnxruntime') as loader,
        pytest.raises(ValueError, match=r'classes|dimensions'),
    ):
        loader.load(folder)
