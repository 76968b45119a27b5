"""EfficientNet-Lite as an encoder: inverted residuals with ReLU6, made for 8-bit integers.

Source: Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML
2019 (arXiv:1905.11946), table 1, in TensorFlow's variant Lite: no squeeze-and-excite, ReLU6, stem
and the depth of the first and last stage not scaled. Without head and classifier: 2,958,848
parameters (Lite0) and 4,357,952 (Lite2).
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

STEM_CHANNELS = 32
# Expansion, kernel, stride, channels and blocks of each stage of Lite0.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
LEVEL_STAGES = (0, 1, 2, 4, 6)  # the last stage before each reduction, and the last of all
BATCH_NORM_EPS = 1e-3


class EfficientNetLite(nn.Module):
    """Features of an image at five strides.

    Args:
        width: Factor on the channels of Lite0.
        depth: Factor on the number of blocks of Lite0.
    """

    torchvision_weights = ''
    channels: ClassVar[tuple[int, ...]]
    strides = (2, 4, 8, 16, 32)

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        self.stem_conv = _SameConv2d(3, STEM_CHANNELS, 3, stride=2)
        self.stem_bn = nn.BatchNorm2d(STEM_CHANNELS, eps=BATCH_NORM_EPS)
        self.blocks = nn.ModuleList()
        self._level_ends: list[int] = []
        inputs = STEM_CHANNELS
        for number, (expansion, kernel, stride, channels, blocks) in enumerate(STAGES):
            outputs = _round_channels(width * channels)
            scaled = number not in (0, len(STAGES) - 1)
            for block in range(math.ceil(depth * blocks) if scaled else blocks):
                step = stride if block == 0 else 1
                self.blocks.append(_InvertedResidual(inputs, outputs, expansion, kernel, step))
                inputs = outputs
            if number in LEVEL_STAGES:
                self._level_ends.append(len(self.blocks) - 1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W), H and W multiples of 32 -> maps at 1/2, 1/4, 1/8, 1/16 and 1/32."""
        features, levels = F.relu6(self.stem_bn(self.stem_conv(image))), []
        for number, block in enumerate(self.blocks):
            features = block(features)
            if number in self._level_ends:
                levels.append(features)
        return tuple(levels)


class EfficientNetLite0(EfficientNetLite):
    """The smallest one."""

    channels = (16, 24, 40, 112, 320)

    def __init__(self) -> None:
        super().__init__(width=1.0, depth=1.0)


class EfficientNetLite2(EfficientNetLite):
    """A tenth wider and a fifth deeper."""

    channels = (16, 24, 48, 120, 352)

    def __init__(self) -> None:
        super().__init__(width=1.1, depth=1.2)


class _InvertedResidual(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int
    ) -> None:
        super().__init__()
        middle = inputs * expansion
        self.expands, self.adds = expansion > 1, stride == 1 and inputs == outputs
        if self.expands:
            self.expand_conv = nn.Conv2d(inputs, middle, 1, bias=False)
            self.expand_bn = nn.BatchNorm2d(middle, eps=BATCH_NORM_EPS)
        self.depthwise_conv = _SameConv2d(middle, middle, kernel, stride=stride, groups=middle)
        self.depthwise_bn = nn.BatchNorm2d(middle, eps=BATCH_NORM_EPS)
        self.project_conv = nn.Conv2d(middle, outputs, 1, bias=False)
        self.project_bn = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS)

    def forward(self, features: Tensor) -> Tensor:
        out = features
        if self.expands:
            out = F.relu6(self.expand_bn(self.expand_conv(out)))
        out = F.relu6(self.depthwise_bn(self.depthwise_conv(out)))
        out = self.project_bn(self.project_conv(out))
        return features + out if self.adds else out


class _SameConv2d(nn.Conv2d):
    """TensorFlow's padding SAME: with stride 2 and an even size, one more right and bottom."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int, groups: int = 1
    ) -> None:
        even = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding=even, groups=groups, bias=False)
        before = (kernel - 2) // 2
        after = kernel - 2 - before
        self.margins = (before, after, before, after) if stride == 2 else ()

    def forward(self, features: Tensor) -> Tensor:
        padded = F.pad(features, self.margins) if self.margins else features
        return super().forward(padded)


def _round_channels(channels: float) -> int:
    """To the nearest multiple of 8, but never down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8
