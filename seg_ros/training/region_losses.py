"""Losses on regions: Dice, Lovasz-Softmax and total variation.

Dice and Lovasz-Softmax are no sums over pixels; on several processes they are those of the images
of all processes: Dice exchanges two sums per class, Lovasz-Softmax, which sorts, every pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from seg_ros.model_card import VOID_ID
from seg_ros.training.distributed import differentiable_sum, gather_rows, sum_over_processes


def dice_loss(logits_nchw: Tensor, labels_nhw: Tensor) -> Tensor:
    """1 - Dice coefficient, mean over the classes in the batch (Milletari, arXiv:1606.04797).

    Args:
        logits_nchw: (N, C, h, w) float32.
        labels_nhw: (N, h, w) int64, 255 = void.
    """
    probabilities, truth = _flatten(logits_nchw, labels_nhw)
    hits = differentiable_sum((probabilities * truth).sum(0))
    sizes = differentiable_sum(probabilities.sum(0) + truth.sum(0))
    present = sum_over_processes(truth.sum(0)) > 0
    if not present.any():
        return logits_nchw.sum() * 0
    return 1 - (2 * hits[present] / sizes[present]).mean()


def lovasz_loss(logits_nchw: Tensor, labels_nhw: Tensor) -> Tensor:
    """Lovasz-Softmax, mean over the classes in the batch (Berman et al., arXiv:1705.08790).

    Args:
        logits_nchw: (N, C, h, w) float32.
        labels_nhw: (N, h, w) int64, 255 = void.
    """
    probabilities, truth = _flatten(logits_nchw, labels_nhw)
    probabilities = gather_rows(probabilities)
    truth = gather_rows(truth.to(torch.uint8)).to(probabilities.dtype)
    losses = []
    for channel in range(truth.shape[1]):
        inside = truth[:, channel]
        if not inside.any():
            continue
        errors = (inside - probabilities[:, channel]).abs()
        ordered, order = errors.sort(descending=True)
        losses.append((ordered * _jaccard_steps(inside[order])).sum())
    if not losses:
        return logits_nchw.sum() * 0
    return torch.stack(losses).mean()


def total_variation(logits_nchw: Tensor, channels: tuple[int, ...] = ()) -> Tensor:
    """Mean absolute difference of neighbouring probabilities.

    Args:
        logits_nchw: (N, C, h, w) float32.
        channels: Channels that it acts on; all when empty.
    """
    probabilities = logits_nchw.softmax(1)
    if channels:
        probabilities = probabilities[:, list(channels)]
    down = (probabilities[..., 1:, :] - probabilities[..., :-1, :]).abs().mean()
    across = (probabilities[..., 1:] - probabilities[..., :-1]).abs().mean()
    return down + across


def _flatten(logits_nchw: Tensor, labels_nhw: Tensor) -> tuple[Tensor, Tensor]:
    """(pixels, C) probabilities and one-hot truth of the labelled pixels."""
    valid = labels_nhw != VOID_ID
    probabilities = logits_nchw.softmax(1).permute(0, 2, 3, 1)[valid]
    truth = F.one_hot(labels_nhw[valid], logits_nchw.shape[1]).to(probabilities.dtype)
    return probabilities, truth


def _jaccard_steps(inside: Tensor) -> Tensor:
    """By how much each further error, largest first, raises the Jaccard loss."""
    total = inside.sum()
    missed = inside.cumsum(0)
    invented = (1 - inside).cumsum(0)
    jaccard = 1 - (total - missed) / (total + invented)
    return torch.diff(jaccard, prepend=jaccard.new_zeros(1))
