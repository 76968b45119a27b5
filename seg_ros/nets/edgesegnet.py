"""A net like EdgeSegNet: residual bottlenecks and refinement at 1/8 and 1/4.

Source: the "advanced model" of github.com/ae137/SemanticSegmentation, after Lin, Chwyl, Wong,
"EdgeSegNet: A Compact Network for Semantic Segmentation" (arXiv:1905.04222), which does not give
its kernel counts. 3,692,412 parameters with 14 classes.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from seg_ros.nets.keras_conventions import batch_norm, start_like_keras

STEM, CONTEXT, REFINED = 13, 193, 217


class EdgeSegNet(nn.Module):
    """Two branches from the stem, merged by addition and refined twice.

    The source repeats pixels four times in front of its last 1x1 convolution. Both commute, so the
    convolution runs at 1/4 here and the upsampling is that of any net.

    Args:
        num_classes: Number of logit channels.
    """

    stride = 16
    logits_stride = 4

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM, 7, stride=2, padding=3)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.context = nn.Sequential(
            nn.Conv2d(STEM, CONTEXT // 9, 3, stride=8),
            nn.ReLU(),
            nn.Conv2d(CONTEXT // 9, CONTEXT // 3, 1),
            nn.ReLU(),
            nn.Conv2d(CONTEXT // 3, CONTEXT, 3, padding=1),
        )
        self.bottleneck = _ResidualBottleneck(STEM, CONTEXT)
        self.refine_bottleneck = _Refine(CONTEXT, CONTEXT)
        self.refine_merged = _Refine(CONTEXT, REFINED)
        self.refine_stem = _Refine(STEM, REFINED)
        self.refine_all = _Refine(REFINED, REFINED)
        self.head = nn.Conv2d(REFINED, num_classes, 1)
        start_like_keras(self)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W), H and W multiples of 16 -> logits (N, num_classes, H / 4, W / 4)."""
        stem = self.stem(image)  # 13 @1/2
        pooled = self.pool(stem)  # 13 @1/4
        context = _double(self.context(stem))  # 193 @1/16 -> 1/8
        merged = self.refine_bottleneck(self.bottleneck(pooled)) + context  # 193 @1/8
        merged = _double(self.refine_merged(merged))  # 217 @1/8 -> 1/4
        refined = self.refine_all(merged + self.refine_stem(pooled))  # 217 @1/4
        logits: Tensor = self.head(refined)  # num_classes @1/4
        return logits


class _ResidualBottleneck(nn.Module):
    """Half the size: a plain 3x3 branch plus a bottleneck of 1x1, 3x3, 1x1."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        narrow, middle = channels_out // 9, channels_out // 3
        self.start = nn.Sequential(nn.ReLU(), batch_norm(channels_in))
        self.plain = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1)
        self.bottleneck = nn.Sequential(
            nn.Conv2d(channels_in, narrow, 1),
            nn.ReLU(),
            batch_norm(narrow),
            nn.Conv2d(narrow, middle, 3, stride=2, padding=1),
            nn.ReLU(),
            batch_norm(middle),
            nn.Conv2d(middle, channels_out, 1),
            nn.ReLU(),
        )

    def forward(self, features: Tensor) -> Tensor:
        features = self.start(features)
        out: Tensor = self.plain(features) + self.bottleneck(features)
        return out


class _Refine(nn.Module):
    """a = C1(x); a + C3(C3(C1(a)))."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels_in, channels_out, 1)
        self.residual = nn.Sequential(
            nn.Conv2d(channels_out, channels_out, 1),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        projected = self.project(features)
        out: Tensor = projected + self.residual(projected)
        return out


def _double(features: Tensor) -> Tensor:
    """Repeat every pixel twice in both directions, as the source does."""
    return F.interpolate(features, scale_factor=2, mode='nearest')
