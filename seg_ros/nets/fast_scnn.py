"""Fast-SCNN: learning to downsample, one deep branch at 1/32, fusion at 1/8.

Source: Poudel, Liwicki, Cipolla, "Fast-SCNN: Fast Semantic Segmentation Network", BMVC 2019
(arXiv:1902.04502), tables 1 and 2. 1,136,763 parameters with 11 classes, without the auxiliary
heads (the paper's 1.11 million have another wiring of the pyramid pooling).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AUXILIARY_CHANNELS = 32


class FastSCNN(nn.Module):
    """Logits at 1/8; the paper's last step, bilinear times 8, is that of any net here.

    Args:
        num_classes: Number of logit channels.
        dropout: Share of features that training drops in front of the last layer.
        auxiliary_heads: Also give logits of the downsampling module and of the global features
            while training (the paper weighs their losses by 0.4); they are not run in eval mode.
    """

    stride = 32
    logits_stride = 8
    training_only = ('auxiliary_downsampled', 'auxiliary_global')

    def __init__(
        self, num_classes: int, dropout: float = 0.3, auxiliary_heads: bool = True
    ) -> None:
        super().__init__()
        self.downsample = nn.Sequential(
            _conv(3, 32, 3, stride=2),
            _separable(32, 48, stride=2),
            _separable(48, 64, stride=2),
        )
        self.global_features = nn.Sequential(
            *_stage(64, 64, stride=2),
            *_stage(64, 96, stride=2),
            *_stage(96, 128, stride=1),
        )
        self.pyramid = _PyramidPooling(128)
        self.fusion = _Fusion(low=128, high=64, out=128)
        self.head = nn.Sequential(
            _separable(128, 128),
            _separable(128, 128),
            nn.Dropout(dropout),
            nn.Conv2d(128, num_classes, 1),
        )
        self.auxiliary_heads = auxiliary_heads
        if auxiliary_heads:
            self.auxiliary_downsampled = _auxiliary(64, num_classes, dropout)
            self.auxiliary_global = _auxiliary(128, num_classes, dropout)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Segment.

        Args:
            image: (N, 3, H, W), H and W multiples of 32.

        Returns:
            ``logits`` (N, num_classes, H / 8, W / 8); while training with auxiliary heads also
            ``aux_downsampled`` @1/8 and ``aux_global`` @1/32.
        """
        high = self.downsample(image)  # 64 @1/8
        low = self.global_features(high)  # 128 @1/32
        fused = self.fusion(self.pyramid(low), high)  # 128 @1/8
        outputs = {'logits': self.head(fused)}  # num_classes @1/8
        if self.training and self.auxiliary_heads:
            outputs['aux_downsampled'] = self.auxiliary_downsampled(high)
            outputs['aux_global'] = self.auxiliary_global(low)
        return outputs


class _InvertedResidual(nn.Module):
    """Expand by 6, depth-wise 3x3, project; added to the input where the shape allows it."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        wide = 6 * channels_in
        self.layers = nn.Sequential(
            _conv(channels_in, wide, 1),
            _conv(wide, wide, 3, stride=stride, groups=wide),
            _conv(wide, channels_out, 1, relu=False),
        )
        self.adds = stride == 1 and channels_in == channels_out

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.layers(features)
        return features + out if self.adds else out


class _PyramidPooling(nn.Module):
    """Means over grids of 1, 2, 3 and 6 cells, concatenated (Zhao et al., arXiv:1612.01105)."""

    grids = (1, 2, 3, 6)

    def __init__(self, channels: int) -> None:
        super().__init__()
        part = channels // len(self.grids)
        self.reductions = nn.ModuleList(_conv(channels, part, 1) for _ in self.grids)
        self.merge = _conv(2 * channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        size = (int(features.shape[-2]), int(features.shape[-1]))
        parts = [features]
        for grid, reduce in zip(self.grids, self.reductions, strict=True):
            cells = reduce(cell_means(features, (grid, grid)))
            parts.append(F.interpolate(cells, size, mode='bilinear', align_corners=False))
        merged: Tensor = self.merge(torch.cat(parts, dim=1))
        return merged


class _Fusion(nn.Module):
    """Deep features, upsampled and filtered with holes, plus the shallow ones (table 2)."""

    def __init__(self, *, low: int, high: int, out: int) -> None:
        super().__init__()
        self.low = nn.Sequential(
            _conv(low, low, 3, groups=low, dilation=4), _conv(low, out, 1, relu=False)
        )
        self.high = _conv(high, out, 1, relu=False)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        size = (int(high.shape[-2]), int(high.shape[-1]))
        low = F.interpolate(low, size, mode='bilinear', align_corners=False)
        return F.relu(self.low(low) + self.high(high))


def cell_means(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """Adaptive average pooling to (rows, columns) of a grid as two matrix products.

    The same windows as ``adaptive_avg_pool2d``, from floor(i n / g) to ceil((i + 1) n / g), in a
    form that ONNX has for any size.
    """
    rows = _averages(int(features.shape[-2]), grid[0]).to(features)
    columns = _averages(int(features.shape[-1]), grid[1]).to(features)
    return rows @ features @ columns.T


def _averages(size: int, grid: int) -> Tensor:
    """(grid, size) matrix whose row i averages the i-th window."""
    matrix = torch.zeros(grid, size)
    for i in range(grid):
        start, end = i * size // grid, -(-(i + 1) * size // grid)
        matrix[i, start:end] = 1 / (end - start)
    return matrix


def _stage(channels_in: int, channels_out: int, *, stride: int) -> list[nn.Module]:
    return [
        _InvertedResidual(channels_in, channels_out, stride),
        _InvertedResidual(channels_out, channels_out, 1),
        _InvertedResidual(channels_out, channels_out, 1),
    ]


def _conv(
    channels_in: int,
    channels_out: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
    relu: bool = True,
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(
            channels_in,
            channels_out,
            kernel,
            stride,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(channels_out),
    ]
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)


def _separable(channels_in: int, channels_out: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        _conv(channels_in, channels_in, 3, stride=stride, groups=channels_in),
        _conv(channels_in, channels_out, 1),
    )


def _auxiliary(channels: int, num_classes: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        _conv(channels, AUXILIARY_CHANNELS, 3),
        nn.Dropout(dropout),
        nn.Conv2d(AUXILIARY_CHANNELS, num_classes, 1),
    )
