import pytest
import torch
import torch.nn.functional as F

from seg_ros.nets import build_net
from seg_ros.nets.cost import count_parameters
from seg_ros.nets.segnet import pool, unpool
from seg_ros.nets.segnet_basic import DECODERS


@pytest.mark.parametrize('size', [(8, 10), (45, 61), (1, 3)])
def test_unpooling_equals_that_of_torch_with_its_gradient(size):
    generator = torch.Generator().manual_seed(0)
    # ReLU gives windows of four zeros, where only the rule for ties decides.
    ours = torch.randn(2, 5, *size, generator=generator).relu().requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    maxima, positions = pool(ours)
    expected, indices = F.max_pool2d(theirs, 2, 2, ceil_mode=True, return_indices=True)
    factor = torch.randn(expected.shape, generator=generator)
    weight = torch.randn(2, 5, *size, generator=generator)
    found = unpool(maxima * factor, positions, size)
    wanted = F.max_unpool2d(expected * factor, indices, [2, 2], output_size=list(size))
    (found * weight).sum().backward()
    (wanted * weight).sum().backward()
    assert torch.equal(maxima, expected)
    assert torch.equal(found, wanted)
    assert torch.equal(ours.grad, theirs.grad)


def test_unpooling_with_other_values_uses_the_first_of_equal_positions():
    _, positions = pool(torch.zeros(1, 1, 2, 2))
    found = unpool(torch.full((1, 1, 1, 1), 7.0), positions, (2, 2))
    assert found.flatten().tolist() == [7, 0, 0, 0]


def test_positions_survive_bfloat16():
    features = torch.randn(1, 4, 8, 8).to(torch.bfloat16)
    maxima, positions = pool(features)
    assert unpool(maxima, positions, (8, 8)).count_nonzero() == maxima.numel()


def test_segnet_stores_the_sizes_of_360x480():
    net = build_net('segnet', 2).eval()
    with torch.inference_mode():
        _, memory = net.net.encoder(torch.zeros(1, 3, 360, 480), torch.nn.Identity())
    assert [size for _, size in memory] == [(360, 480), (180, 240), (90, 120), (45, 60), (23, 30)]
    assert tuple(memory[-1][0].shape[-2:]) == (12, 15)


def test_bayesian_segnet_samples_while_its_dropout_trains():
    net = build_net('segnet', 3, options={'dropout': 0.5}).eval()
    x = torch.randn(1, 3, 32, 48)
    with torch.inference_mode():
        assert torch.equal(net(x)['logits'], net(x)['logits'])
        net.net.dropout.train()
        assert not torch.equal(net(x)['logits'], net(x)['logits'])


@pytest.mark.parametrize(
    ('decoder', 'millions', 'tolerance'),
    [
        ('max_unpooling', 1.425, 0.01),
        ('encoder_addition', 1.425, 0.01),
        ('single_channel', 0.625, 0.005),
        ('bilinear', 0.625, 0.015),
        ('fcn', 0.65, 0.005),
        ('fcn_no_addition', 0.65, 0.007),
        ('fcn_no_reduction', 1.625, 0.04),
        ('fcn_no_addition_no_reduction', 1.625, 0.04),
    ],
)
def test_decoder_variants_have_about_the_parameters_of_table_1(decoder, millions, tolerance):
    net = build_net('segnet_basic', 11, options={'decoder': decoder}).eval()
    assert decoder in DECODERS
    assert count_parameters(net) / 1e6 == pytest.approx(millions, abs=tolerance)
    with torch.inference_mode():
        assert tuple(net(torch.randn(1, 3, 45, 61))['logits'].shape) == (1, 11, 45, 61)


def test_unknown_decoder_is_refused():
    with pytest.raises(ValueError, match="unknown decoder 'x'; available: max_unpooling"):
        build_net('segnet_basic', 3, options={'decoder': 'x'})


def test_encoder_addition_adds_the_encoder_map():
    torch.manual_seed(0)
    plain = build_net('segnet_basic', 3).eval()
    adding = build_net('segnet_basic', 3, options={'decoder': 'encoder_addition'}).eval()
    adding.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        first_map = plain.net.encoders[0](plain.net.normalise(x))
        for net in (plain, adding):  # silence the decoders: what is left was added
            for layer in net.net.decoder.layers:
                layer[1].weight.zero_()
                layer[1].bias.zero_()
        difference = adding(x)['logits'] - plain(x)['logits']
        expected = F.conv2d(first_map, adding.net.decoder.classifier.weight)
    torch.testing.assert_close(difference, expected, rtol=1e-4, atol=1e-4)


def test_learned_upsampling_starts_as_bilinear_interpolation():
    net = build_net('segnet_basic', 3, options={'decoder': 'fcn'})
    x = torch.rand(1, 3, 10, 12)
    with torch.inference_mode():
        found = net.net.decoder.ups[0](x)
    expected = F.interpolate(x, scale_factor=2, mode='bilinear')
    torch.testing.assert_close(found[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4])
