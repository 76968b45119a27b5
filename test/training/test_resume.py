"""Killed at any moment and resumed equals never killed."""

import json
import signal
import time

import pytest
import torch

from seg_ros import cli
from seg_ros.training.checkpoint import FOLDER, load_checkpoint
from seg_ros.training.loop import train
from seg_ros.training.preparation import prepare
from seg_ros.training.recipes import load_train_config
from seg_ros.training.run_folder import CONFIG_FILE

TIMES = {'images_per_s', 'loader_share'}
MANY_STEPS = ('stages.0.batch_size=1', 'stages.1.batch_size=1')  # there is time to be killed


def resume(run):
    return train(
        load_train_config(run / CONFIG_FILE), run, resume=load_checkpoint(run), quiet=True
    )


def everything(run):
    checkpoint = load_checkpoint(run)
    history = [
        {key: value for key, value in entry.items() if key not in TIMES}
        for entry in checkpoint.progress['history']
    ]
    progress = {k: v for k, v in checkpoint.progress.items() if k not in ('history', 'seconds')}
    tensors = checkpoint.load_tensors('state') | {
        f'deployed.{key}': value for key, value in checkpoint.load_tensors('weights').items()
    }
    return tensors, history, progress


def assert_same_bits(run, other):
    tensors, history, progress = everything(run)
    other_tensors, other_history, other_progress = everything(other)
    assert tensors.keys() == other_tensors.keys()
    differing = [key for key in tensors if not torch.equal(tensors[key], other_tensors[key])]
    assert differing == []
    assert history == other_history
    assert progress == other_progress


def wait_for_step(run, process, step):
    """Until a checkpoint is there whose step is at least ``step``."""
    path = run / FOLDER / 'last.json'
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if path.is_file() and json.loads(path.read_text())['progress']['step'] >= step:
            return
        time.sleep(0.002)
    pytest.fail(f'no checkpoint at step {step}: {process.communicate()[0]}')


@pytest.fixture
def whole(tiny_config, tmp_path):
    """A run that nobody disturbed."""
    folder = tmp_path / 'whole'
    assert train(tiny_config(*MANY_STEPS), folder, quiet=True).progress.finished
    return folder


def test_killed_within_an_epoch_and_resumed_equals_never_killed(
    start, tiny_settings, tmp_path, whole
):
    killed = tmp_path / 'killed'
    process = start('train', '--quiet', '--run-folder', killed, *tiny_settings, *MANY_STEPS)
    for step in (10, 30):
        wait_for_step(killed, process, step)
        time.sleep(0.01)  # into the next epoch
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not load_checkpoint(killed).progress['finished']
        if step == 10:
            process = start('train', '--quiet', '--resume', killed)
    resume(killed)
    assert_same_bits(killed, whole)


def test_sigterm_ends_in_good_order_and_names_the_resume_command(
    start, tiny_settings, tmp_path, whole
):
    stopped = tmp_path / 'stopped'
    process = start('train', '--quiet', '--run-folder', stopped, *tiny_settings, *MANY_STEPS)
    wait_for_step(stopped, process, 10)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert f'train --resume {stopped}' in output
    assert not load_checkpoint(stopped).progress['finished']
    resume(stopped)
    assert_same_bits(stopped, whole)


@pytest.mark.parametrize('step', [3, 10, 25])
def test_ctrl_c_within_or_at_the_end_of_an_epoch_loses_nothing(
    monkeypatch, tiny_config, tmp_path, whole, step
):
    from seg_ros.training.phases import Stage

    plain_step, seen = Stage.train_step, []

    def interrupted_step(self, batch, at):
        seen.append(at)
        if len(seen) == step:
            signal.raise_signal(signal.SIGINT)
        return plain_step(self, batch, at)

    monkeypatch.setattr(Stage, 'train_step', interrupted_step)
    folder = tmp_path / 'interrupted'
    run = train(tiny_config(*MANY_STEPS), folder, quiet=True)
    assert not run.progress.finished
    assert run.progress.step == step  # the step was finished and saved
    assert load_checkpoint(folder).progress['step'] == step
    resume(folder)
    assert_same_bits(folder, whole)


def test_a_finished_run_resumes_to_itself(tiny_config, tmp_path):
    run = tmp_path / 'run'
    train(tiny_config('max_steps=3'), run, quiet=True)
    before = (run / FOLDER / 'last.json').read_bytes()
    assert resume(run).progress.finished
    assert (run / FOLDER / 'last.json').read_bytes() == before


def test_an_early_stopped_stage_stays_ended_after_a_resume(tiny_config, tmp_path):
    run = tmp_path / 'run'
    config = tiny_config('patience=1', 'stages.0.learning_rate=0', 'stages.0.epochs=9')
    train(config, run, quiet=True)
    stages = [entry['stage'] for entry in load_checkpoint(run).progress['history']]
    assert stages.count(0) < 9
    before = (run / FOLDER / 'last.json').read_bytes()
    resume(run)
    assert (run / FOLDER / 'last.json').read_bytes() == before


def test_a_run_killed_before_its_first_checkpoint_begins_again(tiny_config, tmp_path):
    folder = tmp_path / 'run'
    prepare(tiny_config('max_steps=2'), folder)
    assert not (folder / FOLDER).exists()
    assert cli.main(['train', '--quiet', '--resume', str(folder)]) == 0
    assert load_checkpoint(folder).progress['finished']


def test_an_interrupt_while_validating_is_saved_too(monkeypatch, tiny_config, tmp_path, whole):
    from seg_ros.training.validation import Validator

    plain_run = Validator.run

    def interrupted_run(self, net, autocast):
        signal.raise_signal(signal.SIGTERM)
        return plain_run(self, net, autocast)

    folder = tmp_path / 'run'
    monkeypatch.setattr(Validator, 'run', interrupted_run)
    run = train(tiny_config(*MANY_STEPS, 'checkpoint_every=100'), folder, quiet=True)
    assert (run.progress.epoch, run.progress.finished) == (1, False)
    monkeypatch.setattr(Validator, 'run', plain_run)
    resume(folder)
    assert_same_bits(folder, whole)


def test_a_run_folder_is_not_overwritten(tiny_config, tmp_path):
    train(tiny_config('max_steps=1'), tmp_path, quiet=True)
    with pytest.raises(FileExistsError, match='--resume'):
        train(tiny_config('max_steps=1'), tmp_path, quiet=True)
