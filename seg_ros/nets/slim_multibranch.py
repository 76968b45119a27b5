"""A slim net of three branches, inspired by U-Net and Fast-SCNN, for road scenes.

Source: the "simple model" of github.com/ae137/SemanticSegmentation and the improvements that its
readme proposes. 469,238 parameters with 14 classes. Its published "mean IoU" was measured with a
metric that counts saturated outputs; no true one was ever published. Batch normalisation
before every ReLU is our addition: docs/camvid.md has what it brings.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_ros.nets.keras_conventions import SameTransposed, batch_norm, start_like_keras


class SlimMultibranch(nn.Module):
    """Four poolings; a deep branch at 1/16, an intermediate one at 1/4 and two plain skips.

    Sizes that are odd at some level come back from the decoder one short and are padded with
    zeros at the bottom and at the right, as in the source.

    Args:
        num_classes: Number of logit channels.
        depthwise_encoder: Encode with depth-wise 3x3 and 1x1 convolutions after the first layer.
        bilinear_upsampling: Leave the bottleneck with 1x1 convolutions and bilinear upsampling
            instead of the two heaviest transposed convolutions.
        crop_instead_of_pad: Round sizes up when pooling and crop the decoder's maps to their
            skips, so that no zeros enter.
        batch_norms: Normalise before every ReLU instead of at the end of two branches alone.
            Engines fold it into the convolutions: it costs the robot nothing.
    """

    stride = 1
    logits_stride = 1

    def __init__(
        self,
        num_classes: int,
        depthwise_encoder: bool = False,
        bilinear_upsampling: bool = False,
        crop_instead_of_pad: bool = False,
        batch_norms: bool = False,
    ) -> None:
        super().__init__()
        conv = partial(_conv, norm=batch_norms)
        encode = partial(_separable if depthwise_encoder else _conv, norm=batch_norms)
        leave = _Bilinear if bilinear_upsampling else SameTransposed
        self.encode1 = conv(3, 12)
        self.encode2 = encode(12, 24)
        self.encode3 = encode(24, 48)
        self.encode4 = encode(48, 96)
        self.pool = nn.MaxPool2d(2, ceil_mode=crop_instead_of_pad)
        self.deep = nn.Sequential(
            conv(96, 96, 1), conv(96, 96), conv(96, 48), conv(48, 48, 1), *_end(batch_norms)
        )
        self.intermediate = nn.Sequential(
            conv(48, 48), conv(48, 48, 1), conv(48, 48), *_end(batch_norms)
        )
        self.up1 = leave(48 + 96, 96, norm=batch_norms)
        self.up2 = leave(96, 48, norm=batch_norms)
        self.up3 = SameTransposed(48 + 48, 48, norm=batch_norms)
        self.up4 = SameTransposed(24 + 48, 24, norm=batch_norms)
        self.refine = conv(12 + 24, 24)
        self.head = nn.Conv2d(24, num_classes, 3, padding=1)
        start_like_keras(self)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W), H and W at least 16 -> logits (N, num_classes, H, W)."""
        level1 = self.encode1(image)  # 12 @1
        level2 = self.encode2(self.pool(level1))  # 24 @1/2
        level3 = self.encode3(self.pool(level2))  # 48 @1/4
        level4 = self.encode4(self.pool(level3))  # 96 @1/8
        bottom = self.pool(level4)  # 96 @1/16
        decoded = torch.cat([self.deep(bottom), bottom], dim=1)  # 144 @1/16
        decoded = _fit(F.relu(self.up1(decoded)), level4)  # 96 @1/8
        decoded = _fit(F.relu(self.up2(decoded)), level3)  # 48 @1/4
        decoded = torch.cat([self.intermediate(level3), decoded], dim=1)  # 96 @1/4
        decoded = _fit(F.relu(self.up3(decoded)), level2)  # 48 @1/2
        decoded = torch.cat([level2, decoded], dim=1)  # 72 @1/2
        decoded = _fit(F.relu(self.up4(decoded)), level1)  # 24 @1
        decoded = torch.cat([level1, decoded], dim=1)  # 36 @1
        logits: Tensor = self.head(self.refine(decoded))
        return logits


class _Bilinear(nn.Module):
    """1x1 convolution, then twice the size; cheaper in this order and the same result."""

    def __init__(self, channels_in: int, channels_out: int, *, norm: bool = False) -> None:
        super().__init__()
        self.layer = nn.Conv2d(channels_in, channels_out, 1)
        self.norm = batch_norm(channels_out) if norm else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        low = self.norm(self.layer(features))
        return F.interpolate(low, scale_factor=2, mode='bilinear', align_corners=False)


def _conv(
    channels_in: int, channels_out: int, kernel: int = 3, *, norm: bool = False
) -> nn.Sequential:
    layer = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)
    return nn.Sequential(layer, *([batch_norm(channels_out)] if norm else []), nn.ReLU())


def _separable(channels_in: int, channels_out: int, *, norm: bool = False) -> nn.Sequential:
    spatial = nn.Conv2d(channels_in, channels_in, 3, padding=1, groups=channels_in, bias=False)
    return nn.Sequential(spatial, *_conv(channels_in, channels_out, 1, norm=norm))


def _end(normalised: bool) -> list[nn.Module]:
    """The normalisation at the end of a branch, unless its convolutions have their own."""
    return [] if normalised else [batch_norm(48)]


def _fit(features: Tensor, skip: Tensor) -> Tensor:
    """Pad with zeros or crop, at the bottom and at the right, to the size of the skip."""
    bottom = int(skip.shape[-2]) - int(features.shape[-2])
    right = int(skip.shape[-1]) - int(features.shape[-1])
    return F.pad(features, (0, right, 0, bottom)) if bottom or right else features
