import logging

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from seg_ros.nets import build_net
from test.nets.images import data_file


def save_resnet18(path, without=(), **changes):
    torch.manual_seed(11)
    state = torchvision.models.resnet18(weights=None).state_dict() | changes
    kept = {
        key: value for key, value in state.items() if not key.startswith(tuple(without) or '-')
    }
    save_file(kept, path)
    return kept


@pytest.mark.parametrize('name', ['mini_unet', 'nimbronet2', 'linknet'])
def test_torchvision_file_is_loaded_whole(tmp_path, name):
    state = save_resnet18(tmp_path / 'resnet18.safetensors')
    net = build_net(name, 3, encoder_weights=str(tmp_path / 'resnet18.safetensors'))
    encoder = net.net.encoder.state_dict()
    assert all(torch.equal(encoder[key], state[key]) for key in encoder)


def test_vgg16_starts_segnet(tmp_path):
    state = torchvision.models.vgg16_bn(weights=None).features.state_dict(prefix='features.')
    save_file(state, tmp_path / 'vgg16.safetensors')
    net = build_net('segnet', 3, encoder_weights=str(tmp_path / 'vgg16.safetensors'))
    encoder = net.net.encoder.state_dict()
    assert set(encoder) == set(state)
    assert all(torch.equal(encoder[key], state[key]) for key in encoder)


def test_missing_tensors_are_listed_and_refused(tmp_path):
    path = tmp_path / 'part.safetensors'
    save_resnet18(path, without=['layer4.1.conv2', 'layer4.1.bn2'])
    with pytest.raises(ValueError, match=r'lacks 5 of \d+ .*layer4.1.conv2.weight, layer4.1.bn2'):
        build_net('linknet', 3, encoder_weights=str(path))


def test_missing_tensors_are_listed_and_allowed_when_asked(tmp_path, caplog):
    path = tmp_path / 'part.safetensors'
    state = save_resnet18(path, without=['layer4.1.conv2'])
    with caplog.at_level(logging.WARNING):
        net = build_net('linknet', 3, encoder_weights=str(path), allow_missing=True)
    assert 'layer4.1.conv2.weight' in caplog.text
    assert torch.equal(net.net.encoder.conv1.weight, state['conv1.weight'])


def test_wrong_shape_is_refused_even_when_missing_is_allowed(tmp_path):
    path = tmp_path / 'wide.safetensors'
    save_resnet18(path, **{'conv1.weight': torch.zeros(64, 1, 7, 7)})
    with pytest.raises(ValueError, match=r'conv1.weight has shape \(64, 1, 7, 7\)'):
        build_net('mini_unet', 3, encoder_weights=str(path), allow_missing=True)


def test_weights_of_another_net_are_refused(tmp_path):
    save_file({'something': torch.zeros(1)}, tmp_path / 'other.safetensors')
    with pytest.raises(ValueError, match='none of the encoder tensors'):
        build_net(
            'mini_unet',
            3,
            encoder_weights=str(tmp_path / 'other.safetensors'),
            allow_missing=True,
        )


def test_net_without_encoder_refuses_weights(tmp_path):
    with pytest.raises(ValueError, match='FastSCNN has no encoder with ImageNet weights'):
        build_net('fast_scnn', 3, encoder_weights='imagenet')


@pytest.mark.parametrize('name', ['weights.pth', 'imagenet21k'])
def test_pickles_and_unknown_words_are_refused(name):
    with pytest.raises(ValueError, match=r'give imagenet, none or the path of a \.safetensors'):
        build_net('mini_unet', 3, encoder_weights=name)


def test_missing_and_damaged_files_are_refused(tmp_path):
    path = tmp_path / 'resnet18.safetensors'
    with pytest.raises(FileNotFoundError, match='do not exist'):
        build_net('mini_unet', 3, encoder_weights=str(path))
    path.write_bytes(b'\x10\0\0\0\0\0\0\0{"a": nonsense}')
    with pytest.raises(ValueError, match='no readable'):
        build_net('mini_unet', 3, encoder_weights=str(path))


def test_imagenet_without_network_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    for proxy in ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'all_proxy'):
        monkeypatch.setenv(proxy, 'http://127.0.0.1:9')  # nothing listens there
    with pytest.raises(FileNotFoundError, match='Without network, give the path'):
        build_net('mini_unet', 3, encoder_weights='imagenet')


def test_real_partial_resnet18(caplog):
    path = data_file('encoder/resnet18_imagenet_partial.safetensors')
    with pytest.raises(ValueError, match=r'layer4\.0\.conv1\.weight'):
        build_net('mini_unet', 4, encoder_weights=str(path))
    net = build_net('mini_unet', 4, encoder_weights=str(path), allow_missing=True)
    assert 'layer4.1.conv2.weight' in caplog.text
    # The first kernels of a trained net see edges: far from the noise they would start as.
    kernels = net.net.encoder.conv1.weight.detach()
    smooth = (kernels[..., 1:] * kernels[..., :-1]).sum() / kernels.square().sum()
    assert smooth > 0.1  # 0.22; noise gives 0.00 +- 0.01


def test_real_mobilenet():
    path = data_file('encoder/mobilenet_v2_imagenet_mit.safetensors')
    net = build_net('mobilenet_unet', 3, encoder_weights=str(path)).eval()
    with torch.inference_mode():
        assert net(torch.randn(1, 3, 64, 64))['logits'].isfinite().all()
