"""Any input size, in one place: pad to the net's stride, run, crop the outputs again."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn


class SegmentationNet(nn.Module):
    """A net of the registry that takes images of any size.

    The padding is at the right and at the bottom and zero, which is the mean colour of a
    normalised image. Pixel (0, 0) stays where it is, so cropping the outputs undoes it exactly.

    Args:
        net: Maps (N, 3, H, W) to logits, or to a dict with ``logits`` and further maps, for H and
            W that are multiples of its attribute ``stride``; ``logits_stride`` is the number of
            input pixels per logit.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.stride = int(cast('int', net.stride))
        self.logits_stride = int(cast('int', net.logits_stride))

    def forward(self, image_nchw: Tensor, full_resolution: bool = False) -> dict[str, Tensor]:
        """Run the net.

        Args:
            image_nchw: (N, 3, H, W) float, normalised; any H and W.
            full_resolution: Upsample every map to (H, W), bilinearly.

        Returns:
            ``logits`` (N, num_classes, ceil(H / s), ceil(W / s)) with s = ``logits_stride``, and
            what else the net gives: ``heatmaps`` of a net that detects, and while training
            ``aux_*`` logits of auxiliary heads.
        """
        height, width = int(image_nchw.shape[-2]), int(image_nchw.shape[-1])
        bottom, right = -height % self.stride, -width % self.stride
        padded = F.pad(image_nchw, (0, right, 0, bottom)) if bottom or right else image_nchw
        outputs = self.net(padded)
        if isinstance(outputs, Tensor):
            outputs = {'logits': outputs}
        return {
            name: _restore(value, (height, width), int(padded.shape[-2]), full_resolution)
            for name, value in outputs.items()
        }


def _restore(
    map_nchw: Tensor, size: tuple[int, int], padded_height: int, full_resolution: bool
) -> Tensor:
    """Cut off what the padding added, at the map's own resolution; upsample where asked."""
    scale = round(padded_height / int(map_nchw.shape[-2]))  # input pixels per pixel of the map
    rows, columns = -(-size[0] // scale), -(-size[1] // scale)
    if (rows, columns) != tuple(map_nchw.shape[-2:]):
        map_nchw = map_nchw[..., :rows, :columns]
    if not full_resolution or scale == 1:
        return map_nchw
    # Scaled by the whole factor and cut, so that odd sizes keep their pixel centres.
    upsampled: Tensor = F.interpolate(
        map_nchw, size=(rows * scale, columns * scale), mode='bilinear', align_corners=False
    )
    return upsampled[..., : size[0], : size[1]]
