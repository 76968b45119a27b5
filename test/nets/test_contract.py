"""What holds for every net of the registry."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from seg_ros.nets import NETS, build_net, net_options
from seg_ros.nets.cost import count_gmac, count_parameters
from seg_ros.nets.deployed import DeployedNet

# Of the papers or sources, at the number of classes they were counted with.
PARAMETERS = {
    'edgesegnet': (14, 3_692_412),
    'fast_scnn': (11, 1_136_763),
    'linknet': (11, 11_534_667),
    'mini_unet': (4, 12_425_028),
    'mobilenet_unet': (3, 6_472_035),
    'nimbronet2': (3, 12_656_710),
    'segnet': (11, 29_449_355),
    'segnet_basic': (11, 1_416_587),
    'slim_multibranch': (14, 469_238),
    'swiftnet': (11, 4_595_803),
}
MORE_PARAMETERS = [
    ('fast_scnn', 19, 1_137_795),
    ('linknet', 12, 11_534_796),
    ('linknet', 19, 11_535_699),
    ('segnet', 12, 29_449_932),
    ('segnet', 37, 29_464_357),
]
LOGITS_STRIDE = {'edgesegnet': 4, 'fast_scnn': 8, 'mini_unet': 4, 'nimbronet2': 4, 'swiftnet': 4}
SIZES = ((64, 96), (96, 64), (45, 61))

every_net = pytest.mark.parametrize('name', sorted(PARAMETERS))


@pytest.fixture(scope='module')
def nets():
    """Built once per name; tests that change a net take a copy."""
    torch.manual_seed(0)
    return {name: build_net(name, classes) for name, (classes, _) in PARAMETERS.items()}


def image(height, width, batch=1):
    generator = torch.Generator().manual_seed(height * width)
    return torch.randn(batch, 3, height, width, generator=generator)


def test_every_net_of_the_package_has_a_counted_source():
    ours = {name for name, target in NETS.items() if target.startswith('seg_ros.nets.')}
    assert ours == set(PARAMETERS)


@every_net
def test_parameter_count_is_that_of_the_source(nets, name):
    assert count_parameters(nets[name]) == PARAMETERS[name][1]


@pytest.mark.parametrize(('name', 'classes', 'count'), MORE_PARAMETERS)
def test_parameter_count_grows_with_the_classes_as_in_the_source(name, classes, count):
    with torch.device('meta'):  # shapes without values
        net = build_net(name, classes)
    assert count_parameters(net) == count


@every_net
@pytest.mark.parametrize('size', SIZES)
def test_logits_cover_the_image(nets, name, size):
    net = nets[name].eval()
    stride = LOGITS_STRIDE.get(name, 1)
    with torch.inference_mode():
        logits = net(image(*size))['logits']
    assert net.logits_stride == stride
    expected = (1, PARAMETERS[name][0], -(-size[0] // stride), -(-size[1] // stride))
    assert tuple(logits.shape) == expected
    assert logits.isfinite().all()


@every_net
def test_full_resolution_is_the_bilinear_upsampling_of_the_logits(nets, name):
    net = nets[name].eval()
    with torch.inference_mode():
        logits = net(image(45, 61))['logits']
        full = net(image(45, 61), full_resolution=True)['logits']
    scale = net.logits_stride
    upsampled = F.interpolate(logits, scale_factor=scale, mode='bilinear') if scale > 1 else logits
    assert tuple(full.shape[-2:]) == (45, 61)
    torch.testing.assert_close(full, upsampled[..., :45, :61])


@every_net
def test_padding_is_zero_and_cut_off_again(nets, name):
    net = nets[name].eval()
    height, width = -(-45 // net.stride) * net.stride, -(-61 // net.stride) * net.stride
    padded = torch.zeros(1, 3, height, width)
    padded[..., :45, :61] = image(45, 61)
    with torch.inference_mode():
        whole = net.net(padded)
        found = net(image(45, 61))['logits']
    whole = whole if isinstance(whole, torch.Tensor) else whole['logits']
    torch.testing.assert_close(found, whole[..., : found.shape[-2], : found.shape[-1]])


@every_net
def test_gradients_reach_every_parameter_and_are_finite(nets, name):
    net = copy.deepcopy(nets[name]).train()
    outputs = net(image(45, 61, batch=2))
    sum(value.square().mean() for value in outputs.values()).backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, f'{key} takes no part'
        assert parameter.grad.isfinite().all(), key


@every_net
def test_eval_is_deterministic_and_changes_nothing(nets, name):
    net = nets[name].eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with torch.inference_mode():
        first = net(image(64, 96))
        second = net(image(64, 96))
    for key, value in first.items():
        assert torch.equal(value, second[key])
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key]), key


@every_net
def test_training_mode_learns_statistics_and_eval_uses_them(nets, name):
    net = copy.deepcopy(nets[name])
    with torch.no_grad():
        before = net.eval()(image(64, 96))['logits']
        for _ in range(3):
            net.train()(image(64, 96, batch=2))
        after = net.eval()(image(64, 96))
    assert not torch.allclose(before, after['logits'], atol=1e-6)
    assert not any(key.startswith('aux_') for key in after)


@every_net
@pytest.mark.parametrize('num_classes', [2, 40])
def test_takes_any_number_of_classes(name, num_classes):
    net = build_net(name, num_classes).eval()
    with torch.inference_mode():
        assert net(image(32, 32))['logits'].shape[1] == num_classes


@pytest.mark.parametrize('num_classes', range(2, 41))
def test_takes_every_number_of_classes_from_2_to_40(num_classes):
    for name, (classes, count) in PARAMETERS.items():
        with torch.device('meta'):
            net = build_net(name, num_classes)
            shape = net.eval()(torch.zeros(1, 3, 32, 32))['logits'].shape
        assert shape[1] == num_classes
        assert (count_parameters(net) > count) == (num_classes > classes)


@every_net
def test_options_have_defaults(name):
    assert all(default is not None for default in net_options(name).values())


def test_gmac_of_mini_unet_is_that_of_its_table(nets):
    assert count_gmac(nets['mini_unet'], (480, 640)) == pytest.approx(13.50, abs=0.01)


def test_gmac_counts_the_padding_too(nets):
    assert count_gmac(nets['linknet'], (33, 33)) == count_gmac(nets['linknet'], (64, 64))


def test_deployed_net_normalises_bytes(nets):
    net = nets['fast_scnn'].eval()
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 45, 61, 3), np.uint8))
    normalised = (pixels / 255 - torch.tensor(mean)) / torch.tensor(std)
    with torch.inference_mode():
        found = DeployedNet(net, mean, std).eval()(pixels)
        expected = net(normalised.permute(0, 3, 1, 2))['logits']
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_unknown_net_is_refused_with_the_list():
    with pytest.raises(ValueError, match=r"unknown net 'x'; available: .*linknet, mini_unet"):
        build_net('x', 3)


def test_unknown_option_is_refused_with_the_list():
    with pytest.raises(ValueError, match=r"no option \['depth'\]; its options: decoder = "):
        build_net('segnet_basic', 3, options={'depth': 2})


@pytest.mark.parametrize('num_classes', [0, 1, 256])
def test_wrong_number_of_classes_is_refused(num_classes):
    with pytest.raises(ValueError, match='allowed are 2 to 255'):
        build_net('slim_multibranch', num_classes)
