"""LinkNet: an encoder (ResNet-18) whose levels are added to the decoder, logits at full size.

Source: Chaurasia, Culurciello, "LinkNet: Exploiting Encoder Representations for Efficient Semantic
Segmentation", VCIP 2017 (arXiv:1707.03718), figures 1 and 2. 11,534,667 parameters with 11
classes.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from seg_ros.nets.encoders import build_encoder


class LinkNet(nn.Module):
    """Decoder i computes D_i(x) + e_(i-1), with e the encoder's levels (figure 1).

    The authors' own program applies a ReLU to each sum; both terms come out of a ReLU already, so
    it would change nothing.

    Args:
        num_classes: Number of logit channels.
        encoder: Key of ``seg_ros.nets.encoders.ENCODERS``; the source's by default. Where its
            shallowest map is at half the size, the last decoder doubles and the head does not.
    """

    stride = 32
    logits_stride = 1

    def __init__(self, num_classes: int, encoder: str = 'resnet18') -> None:
        super().__init__()
        self.encoder = build_encoder(encoder)
        channels = cast('tuple[int, ...]', self.encoder.channels)
        shallow, level1, level2, level3, level4 = channels
        first, second, *_ = cast('tuple[int, ...]', self.encoder.strides)
        self.decoder4 = _decoder(level4, level3, stride=2)
        self.decoder3 = _decoder(level3, level2, stride=2)
        self.decoder2 = _decoder(level2, level1, stride=2)
        self.decoder1 = _decoder(level1, shallow, stride=second // first)
        self.head = nn.Sequential(
            *_up(shallow, 32, stride=first // 2, bias=True),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.ConvTranspose2d(32, num_classes, 2, stride=2),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W), H and W multiples of 32 -> logits (N, num_classes, H, W)."""
        shallow, level1, level2, level3, level4 = self.encoder(image)
        decoded = self.decoder4(level4) + level3  # 256 @1/16
        decoded = self.decoder3(decoded) + level2  # 128 @1/8
        decoded = self.decoder2(decoded) + level1  # 64 @1/4
        decoded = self.decoder1(decoded) + shallow  # 64 @1/4
        logits: Tensor = self.head(decoded)  # 32 @1/2, num_classes @1
        return logits


def _decoder(channels_in: int, channels_out: int, *, stride: int) -> nn.Sequential:
    """1x1 to a quarter of the channels, 3x3 transposed, 1x1 to the output (figure 2)."""
    middle = channels_in // 4
    return nn.Sequential(
        nn.Conv2d(channels_in, middle, 1, bias=False),
        nn.BatchNorm2d(middle),
        nn.ReLU(),
        *_up(middle, middle, stride=stride),
        nn.Conv2d(middle, channels_out, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


def _up(
    channels_in: int, channels_out: int, *, stride: int, bias: bool = False
) -> list[nn.Module]:
    return [
        nn.ConvTranspose2d(
            channels_in,
            channels_out,
            3,
            stride=stride,
            padding=1,
            output_padding=stride - 1,
            bias=bias,
        ),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    ]
