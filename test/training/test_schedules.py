import numpy as np
import pytest
import torch
from torch import nn

from seg_ros.training.config import SCHEDULES
from seg_ros.training.optimizers import build_optimizer, freeze, set_rate
from seg_ros.training.schedules import Plateau, Schedule
from test.training.tiny_net import TinyNet


def curve(name, **values):
    settings = {'warmup': 0.0, 'power': 0.9, 'floor': 0.0, 'cycles': 2, **values}
    schedule = Schedule(name, **settings)
    return np.array([schedule.factor(i / 200) for i in range(200)])


@pytest.mark.parametrize('name', SCHEDULES)
def test_factors_stay_between_zero_and_one(name):
    factors = curve(name, warmup=0.1)
    assert factors.min() >= 0
    assert factors.max() == pytest.approx(1.0, abs=0.02)


def test_poly_and_cosine_fall_to_the_floor():
    np.testing.assert_allclose(curve('poly'), (1 - np.arange(200) / 200) ** 0.9)
    cosine = curve('cosine', floor=0.1)
    assert cosine[0] == 1.0
    assert cosine[100] == pytest.approx(0.55)
    assert cosine[-1] == pytest.approx(0.1, abs=1e-3)


def test_triangular_rises_and_falls_in_lines():
    factors = curve('triangular', cycles=2)
    assert factors[50] == pytest.approx(1.0)
    assert factors[150] == pytest.approx(1.0)
    assert factors[0] == factors[100] == 0
    assert np.allclose(np.diff(factors[:50]), 0.02)


def test_onecycle_is_torchs():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0, momentum=0.9)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=201)
    schedule = Schedule('onecycle', 0.0, 0.9, 0.0, 1)
    for i in range(200):
        # torch's rise ends one step earlier than the share says
        assert schedule.factor(i / 200) == pytest.approx(optimizer.param_groups[0]['lr'], abs=0.02)
        expected = optimizer.param_groups[0]['momentum']
        assert schedule.momentum(i / 200, 0.9) == pytest.approx(expected, abs=0.005)
        optimizer.step()
        reference.step()


def test_warm_up_rises_linearly_to_the_peak():
    factors = curve('constant', warmup=0.1)
    np.testing.assert_allclose(factors[1:20], np.arange(1, 20) / 20)
    assert (factors[20:] == 1).all()
    assert factors[0] > 0  # a rate of zero would waste the step


def test_plateau_lowers_the_rate_after_its_patience():
    plateau = Plateau(factor=0.1, patience=1, floor=0.001)
    rates = []
    for score in (0.1, 0.2, 0.2, 0.1, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3):
        plateau.observe(score)
        rates.append(round(plateau.rate, 6))
    assert rates == [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001]


def options(**values):
    base = {
        'learning_rate': 0.1,
        'weight_decay': 0.01,
        'decay_norms': False,
        'momentum': 0.9,
        'encoder_factor': 0.5,
    }
    return base | values


@pytest.mark.parametrize('name', ['sgd', 'rmsprop', 'adam', 'adamw'])
def test_every_optimiser_moves_every_weight(name):
    net = TinyNet(3, dropout=0.0)
    freeze(net, encoder=False, norms=False)
    optimizer = build_optimizer(net, name=name, **options())
    before = {key: value.clone() for key, value in net.named_parameters()}
    sum(output.square().mean() for output in net(torch.randn(2, 3, 16, 16)).values()).backward()
    set_rate(optimizer, 0.1, 0.85)
    optimizer.step()
    assert all(not torch.equal(before[key], value) for key, value in net.named_parameters())


def test_encoder_learns_slower_and_norms_do_not_decay():
    net = TinyNet(3)
    freeze(net, encoder=False, norms=False)
    optimizer = build_optimizer(net, name='adamw', **options())
    set_rate(optimizer, 0.2, 0.8)
    group_of = {id(p): g for g in optimizer.param_groups for p in g['params']}
    of = {name: group_of[id(parameter)] for name, parameter in net.named_parameters()}
    assert of['encoder.0.weight']['lr'] == pytest.approx(0.1)
    assert of['head.weight']['lr'] == pytest.approx(0.2)
    assert of['head.weight']['betas'][0] == 0.8
    assert of['head.weight']['weight_decay'] == 0.01
    assert of['head.bias']['weight_decay'] == 0
    assert of['encoder.1.weight']['weight_decay'] == 0


def test_a_frozen_encoder_keeps_weights_and_statistics():
    net = TinyNet(3)
    freeze(net, encoder=True, norms=False)
    optimizer = build_optimizer(net, name='sgd', **options())
    before = {key: value.clone() for key, value in net.encoder.state_dict().items()}
    head = net.head.weight.clone()
    net(torch.randn(2, 3, 16, 16))['logits'].square().mean().backward()
    optimizer.step()
    assert all(torch.equal(before[key], v) for key, v in net.encoder.state_dict().items())
    assert not torch.equal(head, net.head.weight)


def test_nothing_to_freeze_or_to_train_is_an_error():
    with pytest.raises(ValueError, match='no encoder'):
        freeze(nn.Conv2d(3, 3, 1), encoder=True, norms=False)
    net = nn.Conv2d(3, 3, 1).requires_grad_(requires_grad=False)
    with pytest.raises(ValueError, match='every weight is frozen'):
        build_optimizer(net, name='sgd', **options())
