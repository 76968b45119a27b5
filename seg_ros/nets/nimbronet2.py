"""NimbRoNet2: one net that detects (heat maps) and segments, with location-dependent bias.

Source: Rodriguez, Farazi, Ficht et al., "RoboCup 2019 AdultSize Winner NimbRo: Deep Learning
Perception, In-Walk Kick, Push Recovery, and Team Play Capabilities" (arXiv:1912.07405), section
3; the bias is that of Azizi, Farazi, Behnke, "Location Dependency in Video Prediction"
(arXiv:1810.04937). 12,656,710 parameters with 3 classes and 3 heat maps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_ros.nets.resnet18 import ResNet18Trunk


class NimbRoNet2(nn.Module):
    """Two 1x1 heads on one decoder; both add the same learned map to their output.

    Args:
        num_classes: Number of logit channels.
        num_heatmaps: Kinds of objects that are detected: ball, goal post and robot in the paper.
        map_height: Rows of the learned map: a quarter of the image's.
        map_width: Columns of the learned map; the map is interpolated for images of another size.

    Raises:
        ValueError: If there is no heat map or the learned map is empty.
    """

    stride = 32
    logits_stride = 4

    def __init__(
        self,
        num_classes: int,
        num_heatmaps: int = 3,
        map_height: int = 120,
        map_width: int = 160,
    ) -> None:
        super().__init__()
        if min(num_heatmaps, map_height, map_width) < 1:
            raise ValueError(
                f'num_heatmaps {num_heatmaps}, map_height {map_height}, map_width {map_width}: '
                'all must be at least 1'
            )
        self.encoder = ResNet18Trunk()
        _, level1, level2, level3, level4 = self.encoder.channels
        self.lateral3 = nn.Conv2d(level3, 256, 1)
        self.lateral2 = nn.Conv2d(level2, 256, 1)
        self.lateral1 = nn.Conv2d(level1, 128, 1)
        self.up1 = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(level4, 256, 2, stride=2))
        self.up2 = _up(512, 256)
        self.up3 = _up(512, 128)
        self.features = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(256))
        self.segmentation = nn.Conv2d(256, num_classes, 1)
        self.detection = nn.Conv2d(256, num_heatmaps, 1)
        channels = max(num_classes, num_heatmaps)
        self.location_bias = nn.Parameter(torch.zeros(1, channels, map_height, map_width))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Segment and detect.

        Args:
            image: (N, 3, H, W), H and W multiples of 32.

        Returns:
            ``logits`` (N, num_classes, H / 4, W / 4) and ``heatmaps`` (N, num_heatmaps, H / 4,
            W / 4), which are trained to blobs of height 1 on the objects.
        """
        _, level1, level2, level3, level4 = self.encoder(image)
        decoded = torch.cat([self.up1(level4), self.lateral3(level3)], dim=1)  # 512 @1/16
        decoded = torch.cat([self.up2(decoded), self.lateral2(level2)], dim=1)  # 512 @1/8
        decoded = torch.cat([self.up3(decoded), self.lateral1(level1)], dim=1)  # 256 @1/4
        decoded = self.features(decoded)
        logits, heatmaps = self.segmentation(decoded), self.detection(decoded)
        bias: Tensor = self.location_bias
        if bias.shape[-2:] != logits.shape[-2:]:
            bias = F.interpolate(
                bias, size=logits.shape[-2:], mode='bilinear', align_corners=False
            )
        return {
            'logits': logits + bias[:, : logits.shape[1]],
            'heatmaps': heatmaps + bias[:, : heatmaps.shape[1]],
        }


def _up(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.BatchNorm2d(channels_in),
        nn.ConvTranspose2d(channels_in, channels_out, 2, stride=2),
    )
