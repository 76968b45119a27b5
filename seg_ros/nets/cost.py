"""What a net costs: learned values and multiplications."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from seg_ros.nets.segmentation_net import SegmentationNet


def count_parameters(net: nn.Module) -> int:
    """Number of learned values of the deployed net.

    Statistics of batch normalisation are none, and modules that a net lists as ``training_only``
    (auxiliary heads) do not count.
    """
    inner = net.net if isinstance(net, SegmentationNet) else net
    left_out = set(getattr(inner, 'training_only', ()))
    return sum(
        parameter.numel()
        for name, parameter in inner.named_parameters()
        if name.partition('.')[0] not in left_out
    )


def count_gmac(net: nn.Module, size_hw: tuple[int, int]) -> float:
    """Billions of multiply-accumulate operations for one image, in eval mode.

    Convolutions and matrix products count; what is done per value (activations, normalisation,
    interpolation) does not.

    Args:
        net: Any net of images (1, 3, H, W).
        size_hw: Rows and columns of the image.
    """
    was_training = net.training
    counter = FlopCounterMode(display=False)
    try:
        with counter, torch.inference_mode():
            net.eval()(torch.zeros(1, 3, *size_hw))
    finally:
        net.train(was_training)
    return float(counter.get_total_flops()) / 2e9
