"""MobileNetV2 as an encoder, with the maps between its inverted residuals.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018
(arXiv:1801.04381), table 2; torchvision's module up to its last inverted residual. 1,811,712
parameters.
"""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models import mobilenet_v2

LEVEL_ENDS = (1, 3, 6, 13, 17)  # the last block before each reduction, and the last of all


class MobileNetV2Trunk(nn.Module):
    """Features of an image at five strides; the key names are torchvision's."""

    torchvision_weights = 'MobileNet_V2_Weights.IMAGENET1K_V1'
    channels = (16, 24, 32, 96, 320)
    strides = (2, 4, 8, 16, 32)

    def __init__(self) -> None:
        super().__init__()
        self.features = mobilenet_v2(weights=None).features[: LEVEL_ENDS[-1] + 1]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W), H and W multiples of 32 -> maps at 1/2, 1/4, 1/8, 1/16 and 1/32."""
        features, levels = image, []
        for number, block in enumerate(self.features):
            features = block(features)
            if number in LEVEL_ENDS:
                levels.append(features)
        return tuple(levels)
