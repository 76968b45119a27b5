"""What Keras means by its defaults, for the nets whose source is a Keras program."""

from __future__ import annotations

from torch import Tensor, nn


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with Keras' epsilon and its momentum of 0.99."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def start_like_keras(net: nn.Module) -> None:
    """Glorot-uniform kernels and zero biases (Glorot, Bengio, AISTATS 2010, equation 16)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class SameTransposed(nn.Module):
    """3x3 transposed convolution of stride 2 with padding ``same``: input i covers 2i to 2i + 2.

    The one row and column too many are cut at the bottom and at the right, as TensorFlow does;
    symmetric padding would shift the map by a pixel.

    Args:
        channels_in: Channels of the map that enters.
        channels_out: Channels of the map that leaves.
        norm: Batch normalisation, before the cut so that engines fold it into the convolution.
    """

    def __init__(self, channels_in: int, channels_out: int, *, norm: bool = False) -> None:
        super().__init__()
        self.layer = nn.ConvTranspose2d(channels_in, channels_out, 3, stride=2)
        self.norm = batch_norm(channels_out) if norm else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, channels_out, 2 H, 2 W)."""
        rows, columns = 2 * int(features.shape[-2]), 2 * int(features.shape[-1])
        out: Tensor = self.norm(self.layer(features))
        return out[..., :rows, :columns]
