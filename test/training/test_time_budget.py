from functools import partial

import pytest

from seg_ros.training import preparation
from seg_ros.training.checkpoint import load_checkpoint
from seg_ros.training.loop import train
from seg_ros.training.phases import Stage
from seg_ros.training.time_budget import TimeBudget
from seg_ros.training.validation import Validator


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """A clock for runs on which a step takes a second."""
    clock = Clock()
    plain = Stage.train_step

    def step_of_a_second(*args, **kwargs):
        loss = plain(*args, **kwargs)
        clock.now += 1
        return loss

    monkeypatch.setattr(preparation, 'TimeBudget', partial(TimeBudget, clock=clock))
    monkeypatch.setattr(Stage, 'train_step', step_of_a_second)
    return clock


def test_stages_share_the_time_that_is_left_for_training():
    clock = Clock()
    budget = TimeBudget(100, (3, 1), clock=clock)  # 180 s are kept for the end
    clock.now += 600  # reading the data
    budget.begin()
    assert budget.progress(0) == 0
    usable = 6000 - 180 - 600
    clock.now += usable * 0.75 / 2
    assert budget.progress(0) == pytest.approx(0.5)
    assert budget.progress(1) == 0
    clock.now += usable * 0.5
    assert budget.progress(0) == 1
    assert budget.progress(1) == pytest.approx(0.5)
    assert budget.left_s == pytest.approx(180 + usable / 8)


def test_a_long_validation_ends_training_earlier():
    clock = Clock()
    budget = TimeBudget(10, (1,), clock=clock)
    budget.begin()
    clock.now += 600 - 90 - 1
    assert budget.progress(0) < 1
    budget.note_validation(20)
    budget.note_validation(5)
    assert budget.progress(0) == 1
    assert budget.left_s == pytest.approx(91)


def test_a_budget_that_the_end_alone_would_use_up_leaves_no_time_to_train():
    budget = TimeBudget(1, (1,), clock=Clock())
    budget.note_validation(30)
    assert budget.progress(0) == 1


def test_a_run_ends_inside_its_time_with_the_rate_at_zero(tiny_config, tmp_path, clock):
    config = tiny_config('time_budget_min=2', 'schedule.name=poly', 'schedule.warmup=0')
    run = train(config, tmp_path / 'run', quiet=True)
    assert run.progress.finished
    # 120 s less 15 %; the first stage has half the epochs at a quarter of the pixels
    assert run.progress.step == pytest.approx(102, abs=2)
    history = run.progress.history
    steps = {number: [e['step'] for e in history if e['stage'] == number] for number in (0, 1)}
    assert steps[0][-1] == pytest.approx(102 / 5, abs=1)
    assert 'mean_iou' in history[-1]
    for number in (0, 1):
        rates = [entry['learning_rate'] for entry in history if entry['stage'] == number]
        assert rates == sorted(rates, reverse=True)
        assert rates[0] > 0
        assert rates[-1] == 0
    assert load_checkpoint(tmp_path / 'run').progress['finished']


def test_a_resumed_run_has_what_is_left(tiny_config, tmp_path, clock, monkeypatch):
    config = tiny_config('time_budget_min=2', 'stages=[{epochs: 4, batch_size: 4}]')

    class StoppedError(Exception):
        pass

    def stop_later(*args, **kwargs):
        if clock.now > 1030:
            raise StoppedError
        return plain(*args, **kwargs)

    plain = Stage.train_step
    with monkeypatch.context() as patch:
        patch.setattr(Stage, 'train_step', stop_later)
        with pytest.raises(StoppedError):
            train(config, tmp_path, quiet=True)
    clock.now += 10_000  # the machine was off
    checkpoint = load_checkpoint(tmp_path)
    run = train(config, tmp_path, resume=checkpoint, quiet=True)
    assert run.progress.finished
    assert run.progress.step == pytest.approx(102, abs=2)
    assert run.progress.history[-1]['learning_rate'] == 0


def test_a_stage_that_begins_too_late_still_has_an_end(tiny_config, tmp_path, clock, monkeypatch):
    plain = Validator.run

    def slow(self, *args):
        clock.now += 500
        return plain(self, *args)

    monkeypatch.setattr(Validator, 'run', slow)
    run = train(tiny_config('time_budget_min=2'), tmp_path, quiet=True)
    assert run.progress.finished
    assert [entry['stage'] for entry in run.progress.history][-1] == 1
    assert 'mean_iou' in run.progress.history[-1]
