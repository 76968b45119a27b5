"""The net that is trained is in training mode at every step, whatever looks at it meanwhile."""

import pytest
import torch

from seg_ros.training.checkpoint import load_checkpoint
from seg_ros.training.loop import train
from seg_ros.training.optimizers import freeze
from seg_ros.training.phases import Stage
from seg_ros.training.validation import evaluation_mode
from test.training.tiny_net import TinyNet

# One best score after the other, so that pictures are shown after every epoch.
RISING = ('stages.1.epochs=6', 'optimizer.name=adam', 'ema_decay=0', 'keep_best=3')


@pytest.fixture
def modes(monkeypatch):
    """(number of the stage, name of the module -> training) of each step."""
    plain_step, seen = Stage.train_step, []

    def watched_step(self, batch, at):
        modules = self.model.net.net.named_modules()
        seen.append((self.number, {name: module.training for name, module in modules if name}))
        return plain_step(self, batch, at)

    monkeypatch.setattr(Stage, 'train_step', watched_step)
    return seen


@pytest.mark.parametrize('quiet', [True, False], ids=['quiet', 'with bar and pictures'])
@pytest.mark.parametrize(
    'settings',
    [(), ('ema_decay=0.9',), ('frozen_norms=true',), ('validate_every=2', 'report_images=0')],
    ids=' '.join,
)
def test_every_step_trains_what_is_to_be_trained(tiny_config, tmp_path, modes, settings, quiet):
    run = train(tiny_config(*RISING, *settings), tmp_path, quiet=quiet)
    assert run.progress.finished
    assert (tmp_path / 'tensorboard').is_dir() is not quiet
    resting = {0: {'encoder', 'encoder.0', 'encoder.1', 'encoder.2'}, 1: set()}
    if 'frozen_norms=true' in settings:
        resting[1] = {'encoder.1'}
    assert len(modes) == run.progress.step
    for number, mode in modes:
        assert {name for name, training in mode.items() if not training} == resting[number]


def test_watching_a_run_changes_no_bit_of_it(tiny_config, tmp_path):
    tensors = []
    for quiet in (True, False):
        train(tiny_config(*RISING), tmp_path / str(quiet), quiet=quiet)
        tensors.append(load_checkpoint(tmp_path / str(quiet)).load_tensors('state'))
    assert all(torch.equal(tensors[0][key], tensors[1][key]) for key in tensors[0])


def test_evaluation_mode_restores_every_module_even_after_an_error():
    net = TinyNet(3)
    freeze(net, encoder=True, norms=True)
    before = [module.training for module in net.modules()]
    with evaluation_mode(net):
        assert not any(module.training for module in net.modules())
    assert [module.training for module in net.modules()] == before
    with pytest.raises(RuntimeError, match='on purpose'), evaluation_mode(net):
        raise RuntimeError('on purpose')
    assert [module.training for module in net.modules()] == before
    assert True in before
    assert False in before
