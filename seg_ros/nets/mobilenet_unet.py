"""U-Net on MobileNetV2: skips from the expanded maps, logits at full size.

Source: the image segmentation tutorial of TensorFlow; Sandler et al., "MobileNetV2: Inverted
Residuals and Linear Bottlenecks", CVPR 2018 (arXiv:1801.04381), and Ronneberger et al., "U-Net",
MICCAI 2015 (arXiv:1505.04597). 6,472,035 parameters with 3 classes.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

# Inverted residuals with stride 2, whose expanded map (6 times the channels) is a skip.
SKIP_BLOCKS = (2, 4, 7, 14)
SKIP_CHANNELS = (96, 144, 192, 576)  # @1/2, 1/4, 1/8, 1/16
BOTTOM_BLOCK, BOTTOM_CHANNELS = 17, 320  # @1/32
UP_CHANNELS = (512, 256, 128, 64)


class MobileNetV2Encoder(nn.Module):
    """MobileNetV2 up to its last inverted residual; torchvision's key names.

    Files that were converted from TensorFlow expect pixels scaled to -1..1: give the model card
    mean and std 0.5 with them.
    """

    torchvision_weights = 'MobileNet_V2_Weights.IMAGENET1K_V1'

    def __init__(self) -> None:
        super().__init__()
        self.features = mobilenet_v2(weights=None).features[: BOTTOM_BLOCK + 1]

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 3, H, W), multiples of 32 -> 320 @1/32, and the four skips from 1/2 to 1/16."""
        features, skips = image, []
        for number, block in enumerate(self.features):
            if number in SKIP_BLOCKS:
                expand, *rest = cast('nn.Sequential', block.conv)
                skips.append(expand(features))
                features = nn.Sequential(*rest)(skips[-1])  # stride 2: nothing is added here
            else:
                features = block(features)
        return features, skips


class MobileNetUNet(nn.Module):
    """Decoder of transposed convolutions, concatenated with the encoder's skips.

    Args:
        num_classes: Number of logit channels.
    """

    stride = 32
    logits_stride = 1

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.encoder = MobileNetV2Encoder()
        self.ups = nn.ModuleList()
        channels = BOTTOM_CHANNELS
        for width, skip in zip(UP_CHANNELS, reversed(SKIP_CHANNELS), strict=True):
            up = _double(channels, width, bias=False)
            self.ups.append(nn.Sequential(up, nn.BatchNorm2d(width), nn.ReLU()))
            channels = width + skip
        self.head = _double(channels, num_classes, bias=True)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W), H and W multiples of 32 -> logits (N, num_classes, H, W)."""
        features, skips = self.encoder(image)
        for up in self.ups:
            features = torch.cat([up(features), skips.pop()], dim=1)  # 1088, 448, 272, 160
        logits: Tensor = self.head(features)
        return logits


def _double(channels_in: int, channels_out: int, *, bias: bool) -> nn.ConvTranspose2d:
    layer = nn.ConvTranspose2d(
        channels_in, channels_out, 3, stride=2, padding=1, output_padding=1, bias=bias
    )
    nn.init.normal_(layer.weight, std=0.02)  # as the tutorial's upsampling block starts
    return layer
