"""Mini-UNet: ResNet-18 encoder, lateral 1x1 skips, logits at a quarter of the input.

Source: the RoboCup net of the NimbRo team, "NimbRo-OP2X: Adult-sized Open-source 3D Printed
Humanoid Robot" (arXiv:1810.08395), section on visual perception, in the layer list of its public
re-implementations. 12,425,028 parameters with 4 classes.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from seg_ros.nets.encoders import build_encoder

WIDTH = 128  # channels of every decoder map and lateral


class MiniUNet(nn.Module):
    """Decoder of transposed convolutions; the encoder's levels come in by concatenation.

    Args:
        num_classes: Number of logit channels.
        encoder: Key of ``seg_ros.nets.encoders.ENCODERS``; the source's by default.
    """

    stride = 32
    logits_stride = 4

    def __init__(self, num_classes: int, encoder: str = 'resnet18') -> None:
        super().__init__()
        self.encoder = build_encoder(encoder)
        _, level1, level2, level3, level4 = cast('tuple[int, ...]', self.encoder.channels)
        self.lateral3 = nn.Conv2d(level3, WIDTH, 1)
        self.lateral2 = nn.Conv2d(level2, WIDTH, 1)
        self.lateral1 = nn.Conv2d(level1, WIDTH, 1)
        self.up1 = nn.Sequential(nn.ReLU(), _double(level4))
        self.up2 = nn.Sequential(nn.BatchNorm2d(2 * WIDTH), nn.ReLU(), _double(2 * WIDTH))
        self.up3 = nn.Sequential(nn.BatchNorm2d(2 * WIDTH), nn.ReLU(), _double(2 * WIDTH))
        self.head = nn.Sequential(
            nn.BatchNorm2d(2 * WIDTH),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * WIDTH, num_classes, 3, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W), H and W multiples of 32 -> logits (N, num_classes, H / 4, W / 4)."""
        _, level1, level2, level3, level4 = self.encoder(image)
        up = torch.cat([self.up1(level4), self.lateral3(level3)], dim=1)  # 256 @1/16
        up = torch.cat([self.up2(up), self.lateral2(level2)], dim=1)  # 256 @1/8
        up = torch.cat([self.up3(up), self.lateral1(level1)], dim=1)  # 256 @1/4
        logits: Tensor = self.head(up)  # num_classes @1/4
        return logits


def _double(channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, WIDTH, 3, stride=2, padding=1, output_padding=1)
