"""SwiftNet: a light encoder, pooling over a pyramid of grids, and a ladder up to a quarter.

Source: Orsic, Kreso, Bevandic, Segvic, "In Defense of Pre-trained ImageNet Architectures for
Real-time Semantic Segmentation of Road-driving Images", CVPR 2019 (arXiv:1903.08469), section 3.1:
each step of the ladder enlarges, adds the encoder's map of that size through a 1x1 convolution,
and blends. The authors' encoders are ResNet-18 and MobileNetV2, their ladder has 128 channels.
4,595,803 parameters with 11 classes.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_ros.nets.encoders import build_encoder
from seg_ros.nets.fast_scnn import cell_means

GRIDS = ((1, 1), (2, 2), (4, 4), (6, 8))  # rows and columns, the finest as wide as the image is


class SwiftNet(nn.Module):
    """Encoder, pyramid pooling and ladder.

    Args:
        num_classes: Number of logit channels.
        encoder: Key of ``seg_ros.nets.encoders.ENCODERS``.
        width: Channels of the ladder.
    """

    stride = 32
    logits_stride = 4

    def __init__(
        self, num_classes: int, encoder: str = 'efficientnet_lite2', width: int = 80
    ) -> None:
        super().__init__()
        if not 8 <= width <= 1024 or width % 4:
            raise ValueError(f'width {width}: give a multiple of 4 from 8 to 1024')
        self.encoder = build_encoder(encoder)
        _, level1, level2, level3, level4 = cast('tuple[int, ...]', self.encoder.channels)
        self.pyramid = _PyramidPooling(level4, width)
        self.lateral3 = _conv(level3, width, 1, relu=False)
        self.lateral2 = _conv(level2, width, 1, relu=False)
        self.lateral1 = _conv(level1, width, 1, relu=False)
        self.blend3 = _conv(width, width, 3)
        self.blend2 = _conv(width, width, 3)
        self.blend1 = _conv(width, width, 3)
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W), H and W multiples of 32 -> logits (N, num_classes, H / 4, W / 4)."""
        _, level1, level2, level3, level4 = self.encoder(image)
        features = self.pyramid(level4)  # @1/32
        features = self.blend3(_double(features) + self.lateral3(level3))  # @1/16
        features = self.blend2(_double(features) + self.lateral2(level2))  # @1/8
        features = self.blend1(_double(features) + self.lateral1(level1))  # @1/4
        logits: Tensor = self.head(features)
        return logits


class _PyramidPooling(nn.Module):
    """Means over grids, beside the map itself; a quarter of the channels for each grid."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.reduce = _conv(channels_in, channels_out, 1)
        part = channels_out // len(GRIDS)
        self.parts = nn.ModuleList(_conv(channels_out, part, 1) for _ in GRIDS)
        self.merge = _conv(channels_out + part * len(GRIDS), channels_out, 1)

    def forward(self, features: Tensor) -> Tensor:
        features = self.reduce(features)
        size = (int(features.shape[-2]), int(features.shape[-1]))
        parts = [features]
        for grid, part in zip(GRIDS, self.parts, strict=True):
            cells = part(cell_means(features, grid))
            parts.append(F.interpolate(cells, size, mode='bilinear', align_corners=False))
        merged: Tensor = self.merge(torch.cat(parts, dim=1))
        return merged


def _double(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2, mode='bilinear', align_corners=False)


def _conv(channels_in: int, channels_out: int, kernel: int, *, relu: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
    ]
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)
