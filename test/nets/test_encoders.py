"""Encoders give the maps of their sources, and nets take each of them."""

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision

from seg_ros.nets import build_net, net_options
from seg_ros.nets.cost import count_gmac, count_parameters
from seg_ros.nets.encoders import ENCODERS, build_encoder, normalization
from test.nets.images import data_file

PARAMETERS = {
    'resnet18': 11_176_512,
    'mobilenet_v2': 1_811_712,
    'efficientnet_lite0': 2_958_848,
    'efficientnet_lite2': 4_357_952,
}
LITE = {'efficientnet_lite0': (1.0, 1.0), 'efficientnet_lite2': (1.1, 1.2)}  # width, depth
EXACT = {'rtol': 1e-4, 'atol': 1e-5}

every_encoder = pytest.mark.parametrize('name', sorted(ENCODERS))
every_lite = pytest.mark.parametrize('name', sorted(LITE))


def randomised(name):
    """An encoder with statistics that are not those of a fresh one, so that all of them count."""
    torch.manual_seed(3)
    encoder = build_encoder(name).eval()
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.2)
    return encoder


def image(height=64, width=96):
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(5))


def assert_same_maps(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **EXACT)


def test_every_encoder_is_counted():
    assert set(ENCODERS) == set(PARAMETERS)


@every_encoder
def test_parameters_channels_and_strides_are_as_said(name):
    encoder = build_encoder(name).eval()
    assert count_parameters(encoder) == PARAMETERS[name]
    with torch.inference_mode():
        maps = encoder(image())
    assert tuple(each.shape[1] for each in maps) == encoder.channels
    assert tuple((64 // each.shape[2], 96 // each.shape[3]) for each in maps) == tuple(
        (stride, stride) for stride in encoder.strides
    )
    assert encoder.strides[1:] == (4, 8, 16, 32)


def test_resnet18_is_torchvisions():
    encoder = randomised('resnet18')
    whole = torchvision.models.resnet18(weights=None).eval()
    whole.load_state_dict(encoder.state_dict(), strict=False)
    names = ('maxpool', 'layer1', 'layer2', 'layer3', 'layer4')
    assert_same_maps(encoder(image()), hooked(whole, [getattr(whole, each) for each in names]))


def test_mobilenet_v2_is_torchvisions():
    encoder = randomised('mobilenet_v2')
    whole = torchvision.models.mobilenet_v2(weights=None).eval()
    whole.load_state_dict(encoder.state_dict(), strict=False)
    blocks = list(whole.features)
    maps = hooked(whole, [blocks[i - 1] for i in strided(blocks)[1:]] + [blocks[17]])
    assert_same_maps(encoder(image()), maps)


def strided(blocks):
    """Numbers of the blocks that halve the size."""
    return [
        i
        for i, block in enumerate(blocks)
        if any(
            2 in layer.stride for layer in block.modules() if isinstance(layer, torch.nn.Conv2d)
        )
    ]


def hooked(whole, modules):
    """Outputs of modules of a net; the net is run on ``image()``."""
    maps = {}
    for module in modules:
        module.register_forward_hook(lambda module, _, out: maps.__setitem__(module, out))
    whole(image())
    return [maps[module] for module in modules]


@every_lite
def test_efficientnet_lite_is_that_of_its_package(name):
    package = pytest.importorskip(
        'efficientnet_lite_pytorch', reason='needs pip install efficientnet-lite-pytorch'
    )
    encoder = randomised(name)
    # Its padding is fixed for one size; with 64 every map is even, as ours are.
    whole = package.EfficientNet.from_name(name.replace('_', '-'), image_size=64).eval()
    state = whole.state_dict()
    ours = dict(zip(package_keys(state), encoder.state_dict().values(), strict=True))
    whole.load_state_dict({**state, **ours})
    blocks = list(whole._blocks)
    ends = [i - 1 for i in strided(blocks)] + [len(blocks) - 1]
    assert_same_maps(encoder(image(64, 64)), hooked_at(whole, blocks, ends))


def package_keys(state):
    """Keys of the package in the order of ours: stem, blocks; head and classifier are last."""
    return [key for key in state if not key.startswith(('_conv_head', '_bn1', '_fc'))]


def hooked_at(whole, blocks, ends):
    maps = {}
    for end in ends:
        blocks[end].register_forward_hook(lambda _, __, out, end=end: maps.update({end: out}))
    whole(image(64, 64))
    return [maps[end] for end in ends]


@every_lite
@pytest.mark.parametrize('size', [(64, 96), (96, 64)])
def test_efficientnet_lite_follows_its_definition(name, size):
    encoder = randomised(name)
    expected = lite_maps(encoder.state_dict(), image(*size), *LITE[name])
    assert_same_maps(encoder(image(*size)), expected)


def lite_maps(state, x, width, depth):
    """The table of the paper, scaled, in functions; TensorFlow's padding by its formula."""
    kernels, strides = (3, 3, 5, 3, 5, 5, 3), (1, 2, 2, 2, 1, 2, 1)
    channels, repeats = (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)

    def unit(x, key, *, stride=1, relu=True):
        weight = state[f'{key}_conv.weight']
        pads = []
        for length, kernel in zip(reversed(x.shape[2:]), reversed(weight.shape[2:]), strict=True):
            total = max((math.ceil(length / stride) - 1) * stride + kernel - length, 0)
            pads += [total // 2, total - total // 2]
        groups = x.shape[1] // weight.shape[1]
        x = F.conv2d(F.pad(x, pads), weight, stride=stride, groups=groups)
        norm = [state[f'{key}_bn.{each}'] for each in ('running_mean', 'running_var')]
        scale = [state[f'{key}_bn.{each}'] for each in ('weight', 'bias')]
        x = F.batch_norm(x, *norm, *scale, eps=1e-3)
        return x.clamp(0, 6) if relu else x

    x, maps, number = unit(x, 'stem', stride=2), [], 0
    for stage in range(7):
        count = repeats[stage] if stage in (0, 6) else math.ceil(depth * repeats[stage])
        for repeat in range(count):
            stride = strides[stage] if repeat == 0 else 1
            if stride == 2:
                maps.append(x)
            key, before = f'blocks.{number}', x
            if stage:
                assert state[f'{key}.expand_conv.weight'].shape[0] == 6 * x.shape[1]
                x = unit(x, f'{key}.expand')
            assert state[f'{key}.depthwise_conv.weight'].shape[-1] == kernels[stage]
            x = unit(x, f'{key}.depthwise', stride=stride)
            x = unit(x, f'{key}.project', relu=False)
            assert x.shape[1] == 8 * round(width * channels[stage] / 8 + 1e-6)
            x, number = x + before if repeat else x, number + 1
    assert f'blocks.{number}.project_conv.weight' not in state
    return [*maps, x]


@pytest.mark.parametrize(
    ('name', 'file'),
    [
        ('mobilenet_v2', 'mobilenet_v2_imagenet_mit'),
        ('efficientnet_lite0', 'efficientnet_lite0_imagenet'),
        ('efficientnet_lite2', 'efficientnet_lite2_imagenet'),
    ],
)
def test_real_weights_are_complete(name, file):
    path = data_file(f'encoder/{file}.safetensors')
    net = build_net('swiftnet', 11, encoder_weights=str(path), options={'encoder': name}).eval()
    with torch.inference_mode():
        maps = net.net.encoder(image())
    # Batch normalisation holds trained maps to a few units; wrong weights let them grow or die.
    assert all(0.05 < float(each.std()) < 20 for each in maps)


def test_torchvision_has_no_efficientnet_lite():
    with pytest.raises(ValueError, match=r'no weights of EfficientNetLite2; give the path'):
        build_net('swiftnet', 3, encoder_weights='imagenet')


@every_encoder
@pytest.mark.parametrize('net', ['linknet', 'mini_unet', 'swiftnet'])
def test_nets_take_every_encoder(net, name):
    built = build_net(net, 5, options={'encoder': name}).train()
    logits = built(image(45, 61))['logits']
    stride = built.logits_stride
    assert tuple(logits.shape) == (2, 5, -(-45 // stride), -(-61 // stride))
    logits.square().mean().backward()
    assert all(each.grad is not None for each in built.parameters())


def test_an_unknown_encoder_is_refused_with_the_list():
    with pytest.raises(ValueError, match="unknown encoder 'vgg'; available: resnet18, mobilenet"):
        build_net('linknet', 3, options={'encoder': 'vgg'})


def test_the_ladder_is_lighter_than_linknet():
    assert count_gmac(build_net('swiftnet', 11), (384, 480)) < 3.0
    assert count_gmac(build_net('linknet', 11), (384, 480)) > 7.0


@pytest.mark.parametrize('width', [0, 30, 2048])
def test_a_ladder_of_a_wrong_width_is_refused(width):
    with pytest.raises(ValueError, match='give a multiple of 4 from 8 to 1024'):
        build_net('swiftnet', 3, options={'width': width})


def test_normalisation_is_that_of_the_encoder():
    mean, std = normalization(net_options('swiftnet'))
    pixels = torch.tensor([0.0, 127.0, 255.0])
    torch.testing.assert_close((pixels / 255 - mean[0]) / std[0], (pixels - 127) / 128)
    assert normalization(net_options('linknet'))[0] == (0.485, 0.456, 0.406)
    assert normalization(net_options('fast_scnn'))[1] == (0.229, 0.224, 0.225)
