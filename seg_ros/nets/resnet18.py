"""ResNet-18 as an encoder: the trunk that mini-UNet, NimbRoNet2 and LinkNet begin with.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, table 1;
torchvision's module, without its pooling and classifier. 11,176,512 parameters.
"""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models import resnet18


class ResNet18Trunk(nn.Module):
    """Features of an image at four strides; the key names are torchvision's."""

    torchvision_weights = 'ResNet18_Weights.IMAGENET1K_V1'
    channels = (64, 64, 128, 256, 512)
    strides = (4, 4, 8, 16, 32)

    def __init__(self) -> None:
        super().__init__()
        whole = resnet18(weights=None)
        self.conv1, self.bn1, self.relu, self.maxpool = (
            whole.conv1,
            whole.bn1,
            whole.relu,
            whole.maxpool,
        )
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            whole.layer1,
            whole.layer2,
            whole.layer3,
            whole.layer4,
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Encode.

        Args:
            image: (N, 3, H, W), H and W multiples of 32.

        Returns:
            The pooled stem (64, @1/4) and layer1 (64, @1/4), layer2 (128, @1/8), layer3 (256,
            @1/16), layer4 (512, @1/32).
        """
        stem = self.maxpool(self.relu(self.bn1(self.conv1(image))))  # 64 @1/4
        level1 = self.layer1(stem)  # 64 @1/4
        level2 = self.layer2(level1)  # 128 @1/8
        level3 = self.layer3(level2)  # 256 @1/16
        level4 = self.layer4(level3)  # 512 @1/32
        return stem, level1, level2, level3, level4
