"""``python -m seg_ros train`` as a stranger uses it: names, folders, two at a time."""

import json
import shutil

import pytest

from seg_ros import cli
from seg_ros.model_card import load_model_card
from seg_ros.segmenter import find_model
from seg_ros.training.checkpoint import FOLDER, load_checkpoint
from seg_ros.training.preparation import prepare
from seg_ros.training.run_folder import new_run_folder
from test.training.test_resume import MANY_STEPS, wait_for_step


@pytest.fixture
def here(tmp_path, monkeypatch, data_folder):
    """An empty working directory with the data in it as ``scenes``."""
    shutil.copytree(data_folder, tmp_path / 'work' / 'scenes')
    monkeypatch.chdir(tmp_path / 'work')
    return tmp_path / 'work'


@pytest.fixture
def settings(tiny_settings, here):
    return [*tiny_settings, 'data=scenes', 'model_dir=models', 'max_steps=4', 'report_images=0']


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_model_of_a_usual_name_is_found_where_it_was_trained(here, settings, capsys):
    assert cli.main(['train', '--quiet', *settings, 'name=My-Model']) == 0
    assert load_model_card(here / 'models/My-Model').name == 'My-Model'
    assert find_model('My-Model').samefile(here / 'models/My-Model')
    images = str(here / 'scenes/images')
    run = next((here / 'runs').iterdir())
    assert cli.main(['export', str(run), 'models/My-Other-Model', '--images', images]) == 0
    assert load_model_card('models/My-Other-Model').name == 'My-Other-Model'


def test_no_model_is_ever_replaced(here, settings, capsys):
    assert cli.main(['train', '--quiet', *settings]) == 0
    (here / 'models/tiny/model_int8.onnx').write_bytes(b'made with patience')
    before = contents(here / 'models/tiny')
    assert cli.main(['train', '--quiet', *settings]) == 0
    assert cli.main(['train', '--quiet', *settings]) == 0
    assert contents(here / 'models/tiny') == before
    assert load_model_card(here / 'models/tiny_2').name == 'tiny_2'
    assert load_model_card(here / 'models/tiny_3').name == 'tiny_3'
    assert 'models/tiny_3' in capsys.readouterr().out


def test_a_shipped_model_is_not_hidden_by_one_of_its_name(here, settings):
    shipped = find_model('road_slim')
    assert cli.main(['train', '--quiet', *settings, 'name=road_slim']) == 0
    assert find_model('road_slim') == shipped
    assert load_model_card(find_model('road_slim_2')).net == 'tiny_net'


def test_a_second_training_in_a_folder_is_refused(start, tiny_settings, tmp_path, capsys):
    folder = tmp_path / 'run'
    process = start('train', '--quiet', '--run-folder', folder, *tiny_settings, *MANY_STEPS)
    wait_for_step(folder, process, 1)
    before = (folder / 'config.yaml').read_bytes()
    for arguments in (
        ['--run-folder', str(folder), *tiny_settings, 'seed=7'],
        ['--resume', str(folder)],
    ):
        assert process.poll() is None, 'the first one ended too early for this test'
        assert cli.main(['train', '--quiet', *arguments]) == 2
        assert f'another training is under way in {folder}' in capsys.readouterr().err
    assert (folder / 'config.yaml').read_bytes() == before
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert load_checkpoint(folder).progress['finished']


def test_a_killed_training_leaves_no_lock(start, tiny_settings, tmp_path):
    folder = tmp_path / 'run'
    process = start('train', '--quiet', '--run-folder', folder, *tiny_settings, *MANY_STEPS)
    wait_for_step(folder, process, 1)
    process.kill()
    process.wait()
    assert cli.main(['train', '--quiet', '--resume', str(folder)]) == 0


def test_runs_of_one_second_get_folders_of_their_own(tmp_path):
    folders = {new_run_folder('x', tmp_path) for _ in range(5)}
    assert len(folders) == 5
    assert all(folder.is_dir() for folder in folders)


def test_a_run_that_never_began_leaves_no_folder(here, settings):
    assert cli.main(['train', '--quiet', *settings, 'data=nowhere']) == 2
    assert list((here / 'runs').iterdir()) == []


def test_a_run_can_be_resumed_from_any_folder(here, settings, tmp_path, monkeypatch):
    assert cli.main(['train', '--quiet', '--run-folder', 'run', *settings]) == 0
    checkpoints = here / 'run' / FOLDER
    description = json.loads((checkpoints / 'last.json').read_text())
    description['progress']['finished'] = False
    (checkpoints / 'last.json').write_text(json.dumps(description))
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    assert cli.main(['train', '--quiet', '--resume', str(here / 'run')]) == 0
    assert (here / 'models/tiny_2/model.onnx').is_file()
    assert list((tmp_path / 'elsewhere').iterdir()) == []


def test_killed_in_its_first_save_it_begins_again(tiny_config, tmp_path):
    folder = tmp_path / 'run'
    prepare(tiny_config('max_steps=2'), folder)
    (folder / FOLDER).mkdir()
    (folder / FOLDER / 'step_00000001.weights.safetensors').write_bytes(b'half')
    (folder / FOLDER / 'best.json').write_bytes(b'{}')
    assert cli.main(['train', '--quiet', '--resume', str(folder)]) == 0
    assert load_checkpoint(folder).progress['finished']
    assert load_checkpoint(folder, 'best').progress['step'] == 2


def test_a_batch_of_one_names_the_setting(tiny_settings, tmp_path, capsys):
    settings = ['net=fast_scnn', 'stages=[{epochs: 1, batch_size: 1}]', 'size=64x96']
    run = ['--run-folder', str(tmp_path / 'run')]
    assert cli.main(['train', '--quiet', *run, *tiny_settings, *settings]) == 2
    message = capsys.readouterr().err
    assert 'net fast_scnn' in message
    assert 'stages.0.batch_size=1' in message
    assert 'Use batch_size=2 or more' in message
