"""Properties and options that single nets promise."""

import pytest
import torch
import torch.nn.functional as F

from seg_ros.nets import build_net
from seg_ros.nets.cost import count_parameters
from seg_ros.nets.fast_scnn import cell_means
from seg_ros.nets.keras_conventions import SameTransposed


@pytest.mark.parametrize(('height', 'width'), [(15, 20), (6, 6), (2, 3), (1, 7)])
@pytest.mark.parametrize('grid', [(1, 1), (2, 2), (3, 3), (6, 6), (6, 8)])
def test_cell_means_are_adaptive_average_pooling(height, width, grid):
    x = torch.randn(2, 4, height, width)
    torch.testing.assert_close(cell_means(x, grid), F.adaptive_avg_pool2d(x, grid))


def test_auxiliary_heads_speak_only_while_training():
    net = build_net('fast_scnn', 5)
    x = torch.randn(2, 3, 64, 96)
    trained = net.train()(x)
    assert {key: tuple(value.shape) for key, value in trained.items()} == {
        'logits': (2, 5, 8, 12),
        'aux_downsampled': (2, 5, 8, 12),
        'aux_global': (2, 5, 2, 3),
    }
    assert list(net.eval()(x)) == ['logits']
    bare = build_net('fast_scnn', 5, options={'auxiliary_heads': False})
    assert list(bare.train()(x)) == ['logits']
    assert count_parameters(bare) == count_parameters(net)


def test_nimbronet2_adds_one_learned_map_to_both_heads():
    net = build_net('nimbronet2', 3, options={'map_height': 16, 'map_width': 24}).eval()
    x = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        before = net(x)
        net.net.location_bias[0, 1, 5, 7] = 2.0
        after = net(x)
    for name in ('logits', 'heatmaps'):
        difference = after[name] - before[name]
        assert difference[0, 1, 5, 7] == pytest.approx(2.0, abs=1e-5)
        assert difference.count_nonzero() == 1


def test_nimbronet2_interpolates_its_map_for_other_sizes():
    net = build_net('nimbronet2', 4, options={'num_heatmaps': 2}).eval()
    x = torch.randn(1, 3, 45, 61)
    with torch.inference_mode():
        before = net(x)
        net.net.location_bias.fill_(1.5)
        after = net(x)
    assert tuple(after['logits'].shape) == (1, 4, 12, 16)
    assert tuple(after['heatmaps'].shape) == (1, 2, 12, 16)
    for name in before:
        torch.testing.assert_close(after[name], before[name] + 1.5)


def test_nimbronet2_needs_a_heatmap():
    with pytest.raises(ValueError, match='must be at least 1'):
        build_net('nimbronet2', 3, options={'num_heatmaps': 0})


@pytest.mark.parametrize(
    ('options', 'parameters'),
    [
        ({'depthwise_encoder': True}, 421_610),
        ({'bilinear_upsampling': True}, 321_782),
        ({'crop_instead_of_pad': True}, 469_238),
        ({'batch_norms': True}, 470_750),
        ({'batch_norms': True, 'depthwise_encoder': True, 'bilinear_upsampling': True}, 275_666),
    ],
)
def test_slim_multibranch_improvements(options, parameters):
    net = build_net('slim_multibranch', 14, options=options).eval()
    assert count_parameters(net) == parameters
    with torch.inference_mode():
        assert tuple(net(torch.randn(1, 3, 45, 61))['logits'].shape) == (1, 14, 45, 61)


def test_slim_multibranch_crops_only_where_it_would_pad():
    torch.manual_seed(0)
    pads = build_net('slim_multibranch', 5).eval()
    crops = build_net('slim_multibranch', 5, options={'crop_instead_of_pad': True}).eval()
    crops.load_state_dict(pads.state_dict())
    with torch.inference_mode():
        even, odd = torch.randn(1, 3, 32, 48), torch.randn(1, 3, 45, 61)
        assert torch.equal(pads(even)['logits'], crops(even)['logits'])
        assert not torch.equal(pads(odd)['logits'], crops(odd)['logits'])


def test_slim_multibranch_has_the_sizes_of_its_source():
    net = build_net('slim_multibranch', 14).eval().net
    sizes = []
    for layer in (net.encode1, net.encode2, net.encode3, net.encode4, net.up1, net.up2, net.up3):
        layer.register_forward_hook(lambda _, __, out: sizes.append(tuple(out.shape[1:])))
    with torch.inference_mode():
        net(torch.zeros(1, 3, 125, 414))
    assert sizes == [
        (12, 125, 414),
        (24, 62, 207),
        (48, 31, 103),
        (96, 15, 51),
        (96, 14, 50),
        (48, 30, 102),
        (48, 62, 206),
    ]


def test_same_padding_puts_input_pixel_i_at_2i():
    layer = SameTransposed(1, 1)
    torch.nn.init.ones_(layer.layer.weight)
    torch.nn.init.zeros_(layer.layer.bias)
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 1, 2] = 1
    with torch.inference_mode():
        rows, columns = layer(x)[0, 0].nonzero(as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 4, 4, 6)


def test_edgesegnet_classifies_before_upsampling_with_the_same_result():
    net = build_net('edgesegnet', 5).eval().net
    features = torch.randn(1, 217, 6, 8)
    with torch.inference_mode():
        ours = F.interpolate(net.head(features), scale_factor=4, mode='nearest')
        source = net.head(F.interpolate(features, scale_factor=4, mode='nearest'))
    torch.testing.assert_close(ours, source, rtol=1e-4, atol=1e-5)
