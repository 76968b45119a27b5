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


def lines_of(text):
    return dict(line.split(': ', 1) for line in text.splitlines() if ': ' in line)


def test_the_end_says_where_everything_is_and_how_to_run_it(here, settings, capsys):
    assert cli.main(['train', '--quiet', *settings, 'max_steps=0']) == 0
    said = lines_of(capsys.readouterr().out)
    run = next((here / 'runs').iterdir())
    assert said['run'] == str(run)
    assert said['settings'] == str(run / 'config.yaml')
    checkpoint, epoch = said['checkpoint'].split(', epoch ')
    assert epoch.startswith(f'{load_checkpoint(checkpoint).progress["epoch"]} of 4')
    assert said['model'] == str(here / 'models/tiny')
    command = 'segmentation_node --ros-args -p model:=' + said['model']
    assert said['run it with'] == f'ros2 run seg_ros {command}'
    page = (run / 'report/index.html').read_text()
    for value in said.values():
        assert value in page or 'mIoU' in value


def test_a_run_that_ended_in_a_small_stage_says_so(here, settings, capsys):
    assert cli.main(['train', '--quiet', *settings, 'max_steps=1']) == 0
    said = lines_of(capsys.readouterr().out)
    assert said['input'].startswith('16x24 (rows x columns). The run ended in a stage of this')
    assert '--size 32x48' in said['input']


def test_a_finished_run_that_is_resumed_leaves_its_model_as_it_is(here, settings, capsys):
    assert cli.main(['train', '--quiet', '--run-folder', 'run', *settings]) == 0
    (here / 'models/tiny/model_int8.onnx').write_bytes(b'made with patience')
    before = contents(here / 'models/tiny')
    assert cli.main(['train', '--quiet', '--resume', 'run']) == 0
    assert contents(here / 'models/tiny') == before
    assert [path.name for path in (here / 'models').iterdir()] == ['tiny']
    shutil.rmtree(here / 'models/tiny')
    assert cli.main(['train', '--quiet', '--resume', 'run']) == 0
    assert 'model.onnx' in contents(here / 'models/tiny')


def test_a_model_that_no_engine_agrees_with_loses_no_report(here, settings, monkeypatch, capsys):
    def refuse(*_, **__):
        raise ValueError('an engine disagrees with torch')

    monkeypatch.setattr('seg_ros.training.outcome.export_run', refuse)
    assert cli.main(['train', '--quiet', '--run-folder', 'run', *settings]) == 2
    output = capsys.readouterr()
    assert 'python -m seg_ros export' in output.err
    assert lines_of(output.out)['report'] == str(here / 'run/report/index.html')
    assert (here / 'run/report/index.html').is_file()


@pytest.mark.parametrize('ended', [[], ['max_steps=3'], ['target_score=0.001']], ids=str)
def test_a_finished_run_is_extended(here, settings, capsys, ended):
    run = ['train', '--quiet', '--run-folder', 'run', *settings, 'max_steps=0', 'model_dir=']
    assert cli.main([*run, *ended]) == 0
    before = load_checkpoint(here / 'run').progress
    extension = ['train', '--quiet', '--extend', 'run', 'epochs=+3', 'lr=1e-4']
    assert cli.main(extension) == 0
    after = load_checkpoint(here / 'run').progress
    assert after['finished']
    assert after['epoch'] == before['epoch'] + 3
    assert after['history'][: before['epoch']] == before['history']
    assert {entry['stage'] for entry in after['history'][-3:]} == {before['stage'] + 1}
    assert after['history'][-3]['learning_rate'] <= 1e-4
    assert cli.main(extension) == 0  # and again
    assert load_checkpoint(here / 'run').progress['epoch'] == before['epoch'] + 6


@pytest.mark.parametrize(
    'overrides', [[], ['epochs=3'], ['epochs=+3', 'seed=1'], ['epochs=+0'], ['epochs=+x']]
)
def test_a_wrong_extension_changes_nothing(here, settings, capsys, overrides):
    run = ['train', '--quiet', '--run-folder', 'run', *settings, 'model_dir=']
    assert cli.main(run) == 0
    before = (here / 'run/config.yaml').read_bytes()
    assert cli.main(['train', '--quiet', '--extend', 'run', *overrides]) == 2
    assert 'epochs' in capsys.readouterr().err
    assert (here / 'run/config.yaml').read_bytes() == before
    assert load_checkpoint(here / 'run').progress['finished']


def test_evaluate_scores_what_a_run_held_out(here, settings, capsys):
    split = ['split.mode=random', 'split.val_fraction=0.3']
    run = ['train', '--quiet', '--run-folder', 'run', *settings, *split, 'data=all']
    (here / 'all').mkdir()
    for kind in ('images', 'labels'):
        shutil.copytree(here / 'scenes' / kind / 'train', here / 'all' / kind)
    shutil.copy(here / 'scenes/classes.yaml', here / 'all')
    assert cli.main(run) == 0
    scores = json.loads((here / 'run/report/scores.json').read_text())
    arguments = ['evaluate', 'run', '--backend', 'onnxruntime', '--precision', 'fp32', '--quiet']
    assert cli.main([*arguments, '--json', 'report.json']) == 0
    report = json.loads((here / 'report.json').read_text())
    assert report['frames'] == scores['images'] == 3
    assert report['miou'] == pytest.approx(scores['mean_iou'], abs=5e-3)
    assert cli.main([*arguments, '--dataset', 'folder', '--root', 'all']) == 2
    assert 'give one of --bag, --dataset and a run folder' in capsys.readouterr().err
