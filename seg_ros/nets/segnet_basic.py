"""SegNet-Basic and the decoder variants that its paper compares.

Source: Badrinarayanan, Kendall, Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder
Architecture for Image Segmentation", PAMI 2017 (arXiv:1511.00561), section 3.1, figure 3, table
1. 1,416,587 parameters with 11 classes.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_ros.nets.segnet import pool, unpool

WIDTH, KERNEL, LEVELS = 64, 7, 4
UPSAMPLING_KERNEL = 8

# name -> the row of table 1
DECODERS = {
    'max_unpooling': 'SegNet-Basic',
    'encoder_addition': 'SegNet-Basic-EncoderAddition',
    'single_channel': 'SegNet-Basic-SingleChannelDecoder',
    'bilinear': 'Bilinear-Interpolation',
    'fcn': 'FCN-Basic',
    'fcn_no_addition': 'FCN-Basic-NoAddition',
    'fcn_no_reduction': 'FCN-Basic-NoDimReduction',
    'fcn_no_addition_no_reduction': 'FCN-Basic-NoAddition-NoDimReduction',
}


class SegNetBasic(nn.Module):
    """Four encoders of 64 channels, 7x7 kernels, and one of the decoders of table 1.

    The local response normalisation of the input was made for bytes: a model card with mean 0 and
    std 1/255 gives them as in the source; after other normalisations it changes little.

    Args:
        num_classes: Number of logit channels.
        decoder: Key of ``DECODERS``.

    Raises:
        ValueError: If there is no such decoder.
    """

    stride = 1
    logits_stride = 1

    def __init__(self, num_classes: int, decoder: str = 'max_unpooling') -> None:
        super().__init__()
        if decoder not in DECODERS:
            raise ValueError(f'unknown decoder {decoder!r}; available: {", ".join(DECODERS)}')
        self.normalise = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.encoders = nn.ModuleList(
            nn.Sequential(*_conv(3 if level == 0 else WIDTH), nn.ReLU()) for level in range(LEVELS)
        )
        self.decoder: nn.Module
        self.unpools = decoder in ('max_unpooling', 'encoder_addition', 'single_channel')
        if self.unpools:
            self.decoder = _UnpoolingDecoder(
                num_classes,
                groups=WIDTH if decoder == 'single_channel' else 1,
                adds_encoder=decoder == 'encoder_addition',
            )
        elif decoder == 'bilinear':
            self.decoder = _BilinearDecoder(num_classes)
        else:
            self.decoder = _FcnDecoder(
                num_classes, adds='no_addition' not in decoder, reduces='no_red' not in decoder
            )
        for module in self.encoders.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) -> logits (N, num_classes, H, W)."""
        features = self.normalise(image)
        maps, pooled, positions = [], [], []
        for encoder in self.encoders:
            maps.append(encoder(features))  # 64 @1, 1/2, 1/4, 1/8
            features, where = pool(maps[-1])  # half, rounded up
            pooled.append(features)
            positions.append(where)
        logits: Tensor = self.decoder(maps, pooled, positions)
        return logits


class _UnpoolingDecoder(nn.Module):
    """Unpool with the positions of the maxima, convolve, normalise; no ReLU (section 3.1)."""

    def __init__(self, num_classes: int, *, groups: int, adds_encoder: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(*_conv(WIDTH, groups=groups)) for _ in range(LEVELS)
        )
        self.adds_encoder = adds_encoder
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)
        for module in self.layers.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, maps: list[Tensor], pooled: list[Tensor], positions: list[Tensor]) -> Tensor:
        features = pooled[-1]  # 64 @1/16
        for layer, level in zip(self.layers, reversed(range(LEVELS)), strict=True):
            features = layer(unpool(features, positions[level], _size(maps[level])))
            if self.adds_encoder:
                features = features + maps[level]
        logits: Tensor = self.classifier(features)
        return logits


class _BilinearDecoder(nn.Module):
    """Classes at 1/16, then fixed bilinear interpolation level by level; nothing is learned."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)

    def forward(self, maps: list[Tensor], pooled: list[Tensor], positions: list[Tensor]) -> Tensor:
        del positions
        logits = self.classifier(pooled[-1])
        for level in reversed(range(LEVELS)):
            logits = F.interpolate(logits, scale_factor=2, mode='bilinear', align_corners=False)
            logits = _crop(logits, maps[level])
        return cast('Tensor', logits)


class _FcnDecoder(nn.Module):
    """Learned 8x8 upsampling; pooled encoder maps, reduced to classes, are added (figure 3).

    Args:
        num_classes: Number of logit channels.
        adds: Add the encoder's maps.
        reduces: Compress maps to the number of classes first; otherwise all 64 channels are
            decoded and classified at the end.
    """

    def __init__(self, num_classes: int, *, adds: bool, reduces: bool) -> None:
        super().__init__()
        width = num_classes if reduces else WIDTH
        self.adds = adds
        kept = range(LEVELS) if adds else range(LEVELS - 1, LEVELS)
        self.reductions = nn.ModuleDict(
            {str(level): nn.Conv2d(WIDTH, width, 1) for level in kept} if reduces else {}
        )
        self.ups = nn.ModuleList(_learned_double(width) for _ in range(LEVELS))
        self.classifier = nn.Identity() if reduces else nn.Conv2d(WIDTH, num_classes, 1)

    def forward(self, maps: list[Tensor], pooled: list[Tensor], positions: list[Tensor]) -> Tensor:
        del positions
        features = self._reduced(pooled, LEVELS - 1)  # @1/16
        for up, level in zip(self.ups, reversed(range(LEVELS)), strict=True):
            features = _crop(up(features), maps[level])
            if self.adds and level > 0:
                features = features + self._reduced(pooled, level - 1)
        logits: Tensor = self.classifier(features)
        return logits

    def _reduced(self, pooled: list[Tensor], level: int) -> Tensor:
        if not self.reductions:
            return pooled[level]
        return cast('Tensor', self.reductions[str(level)](pooled[level]))


def _conv(channels_in: int, *, groups: int = 1) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(channels_in, WIDTH, KERNEL, padding=KERNEL // 2, groups=groups)
    return conv, nn.BatchNorm2d(WIDTH)


def _learned_double(channels: int) -> nn.ConvTranspose2d:
    """Transposed convolution of stride 2 that starts as bilinear interpolation."""
    layer = nn.ConvTranspose2d(
        channels, channels, UPSAMPLING_KERNEL, stride=2, padding=3, bias=False
    )
    centre = (UPSAMPLING_KERNEL - 1) / 2
    tent = (1 - (torch.arange(UPSAMPLING_KERNEL) - centre).abs() / 2).clamp(min=0)
    with torch.no_grad():
        layer.weight.zero_()
        for channel in range(channels):
            layer.weight[channel, channel] = tent[:, None] * tent[None, :]
    return layer


def _size(features: Tensor) -> tuple[int, int]:
    return int(features.shape[-2]), int(features.shape[-1])


def _crop(features: Tensor, like: Tensor) -> Tensor:
    rows, columns = _size(like)
    return features[..., :rows, :columns]
