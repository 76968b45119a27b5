"""Encoders by name: trunks with ImageNet weights that nets take as their option ``encoder``.

An encoder is an ``nn.Module`` without arguments. It maps a normalised image (N, 3, H, W), H and W
multiples of 32, to five maps, the shallowest first; ``channels`` and ``strides`` say what they
are. The last four are at 1/4, 1/8, 1/16 and 1/32. Key names are those of the weights file.
``torchvision_weights`` names torchvision's weights; it is empty where torchvision has none.
Listing the names needs no torch; building does.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

Channels = tuple[float, float, float]  # red, green, blue

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class _Encoder:
    """What stands behind a name: 'module:class', and the normalisation of its weights."""

    target: str
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD


# (x - 127) / 128 of pixels in bytes, as TensorFlow's EfficientNet-Lite was trained.
_LITE = {'mean': (127 / 255,) * 3, 'std': (128 / 255,) * 3}

ENCODERS: dict[str, _Encoder] = {
    'resnet18': _Encoder('seg_ros.nets.resnet18:ResNet18Trunk'),
    'mobilenet_v2': _Encoder('seg_ros.nets.mobilenet_v2:MobileNetV2Trunk'),
    'efficientnet_lite0': _Encoder('seg_ros.nets.efficientnet_lite:EfficientNetLite0', **_LITE),
    'efficientnet_lite2': _Encoder('seg_ros.nets.efficientnet_lite:EfficientNetLite2', **_LITE),
}


def build_encoder(name: str) -> nn.Module:
    """Build an encoder with random weights.

    Raises:
        ValueError: If the name is unknown; the message lists what there is.
    """
    module, _, attribute = _entry(name).target.partition(':')
    encoder: nn.Module = getattr(importlib.import_module(module), attribute)()
    return encoder


def normalization(net_options: Mapping[str, Any]) -> tuple[Channels, Channels]:
    """Mean and std, of RGB pixels in 0..1, that the encoder of a net was trained with.

    Args:
        net_options: All options of the net; without ``encoder``, ImageNet's usual values.

    Raises:
        ValueError: If the encoder is unknown.
    """
    name = net_options.get('encoder')
    entry = _entry(name) if name is not None else _Encoder('')
    return entry.mean, entry.std


def _entry(name: str) -> _Encoder:
    if name not in ENCODERS:
        raise ValueError(f'unknown encoder {name!r}; available: {", ".join(ENCODERS)}')
    return ENCODERS[name]
