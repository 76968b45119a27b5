"""SegNet: VGG16 encoder, decoder that unpools with the encoder's max-pooling indices.

Source: Badrinarayanan, Kendall, Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder
Architecture for Image Segmentation", PAMI 2017 (arXiv:1511.00561), section 3 and figure 2; with
``dropout`` its Bayesian sibling (arXiv:1511.02680). 29,449,355 parameters with 11 classes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import vgg16_bn

# Channels after each convolution of a stage; the class count takes the place of the last 64.
DECODER = ((512, 512, 512), (512, 512, 256), (256, 256, 128), (128, 64), (64,))
DROPOUT_STAGES = 3  # the innermost ones of either side


class Vgg16Encoder(nn.Module):
    """The 13 convolutions of VGG16 with batch normalisation; torchvision's key names."""

    torchvision_weights = 'VGG16_BN_Weights.IMAGENET1K_V1'

    def __init__(self) -> None:
        super().__init__()
        self.features = vgg16_bn(weights=None).features

    def forward(
        self, image: Tensor, dropout: nn.Module
    ) -> tuple[Tensor, list[tuple[Tensor, tuple[int, int]]]]:
        """Encode.

        Args:
            image: (N, 3, H, W).
            dropout: Applied after the three innermost poolings.

        Returns:
            512 features @1/32, and per pooling its positions and the size it started from.
        """
        memory: list[tuple[Tensor, tuple[int, int]]] = []
        features = image
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                size = (int(features.shape[-2]), int(features.shape[-1]))
                features, positions = pool(features)  # half, rounded up
                memory.append((positions, size))
                if len(memory) > len(DECODER) - DROPOUT_STAGES:
                    features = dropout(features)
            else:
                features = layer(features)
        return features, memory


class SegNet(nn.Module):
    """Encoder and mirrored decoder; sizes are stored, so any input size comes back exactly.

    Args:
        num_classes: Number of logit channels.
        dropout: Share of features dropped around the three innermost stages; 0.5 in Bayesian
            SegNet, whose samples are forward passes with the dropout kept in training mode.
    """

    stride = 1
    logits_stride = 1
    unpools = True

    def __init__(self, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder = Vgg16Encoder()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.decoder = nn.ModuleList()
        channels = 512
        for stage in DECODER:
            layers: list[nn.Module] = []
            for width in stage:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width)]
                layers.append(nn.ReLU())
                channels = width
            self.decoder.append(nn.Sequential(*layers))
        self.classifier = nn.Conv2d(channels, num_classes, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) -> logits (N, num_classes, H, W)."""
        features, memory = self.encoder(image, self.dropout)  # 512 @1/32
        for number, stage in enumerate(self.decoder):
            positions, size = memory.pop()
            features = stage(unpool(features, positions, size))  # twice the size
            if number < DROPOUT_STAGES:
                features = self.dropout(features)
        logits: Tensor = self.classifier(features)
        return logits


def pool(features: Tensor) -> tuple[Tensor, Tensor]:
    """2x2 max-pooling that rounds sizes up and remembers where the maxima were.

    The positions are the paper's two bits per window. They are found by comparison, because
    engines run max-pooling with indices many times slower than without; as in torch, the first of
    equal values counts.

    Args:
        features: (N, C, H, W).

    Returns:
        Maxima and positions (0 top left, 1 top right, 2 bottom left, 3 bottom right), both float
        (N, C, ceil(H / 2), ceil(W / 2)).
    """
    maxima = F.max_pool2d(features, kernel_size=2, stride=2, ceil_mode=True)
    height, width = int(features.shape[-2]), int(features.shape[-1])
    with torch.no_grad():
        if height % 2 or width % 2:
            features = F.pad(features, (0, width % 2, 0, height % 2), value=-math.inf)
        positions = torch.full_like(maxima, 3.0)
        for position in (2, 1, 0):
            corner = features[..., position // 2 :: 2, position % 2 :: 2]
            positions = torch.where(corner == maxima, float(position), positions)
    return maxima, positions


def unpool(features: Tensor, positions: Tensor, size: tuple[int, int]) -> Tensor:
    """Put values back where ``pool`` found the maxima; zero elsewhere.

    Args:
        features: (N, C, ceil(H / 2), ceil(W / 2)).
        positions: Of the same shape, from ``pool``.
        size: H and W from before the pooling.

    Returns:
        (N, C, H, W), equal to ``torch.nn.functional.max_unpool2d``.
    """
    rows, columns = (torch.arange(2 * int(n), device=features.device) for n in features.shape[-2:])
    own_position = (2 * (rows % 2)[:, None] + columns % 2).to(positions.dtype)
    repeated = F.interpolate(positions, scale_factor=2, mode='nearest')
    values = F.interpolate(features, scale_factor=2, mode='nearest')
    zero = torch.zeros((), dtype=values.dtype, device=values.device)
    return torch.where(repeated == own_position, values, zero)[..., : size[0], : size[1]]
