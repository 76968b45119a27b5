"""Losses per pixel and their weighted sum.

Void pixels (255) never count. Every loss is that of the images of all processes together, so a run
on several GPUs has the gradient of one on a single GPU. Each process must therefore come to every
exchange, also with no labelled pixel of its own.

Shapes: N batch, C classes, h w rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_ros.model_card import VOID_ID
from seg_ros.training.distributed import gather_rows, sum_over_processes, world_size
from seg_ros.training.region_losses import dice_loss, lovasz_loss, total_variation

ENET_OFFSET = 1.10
LINKNET_OFFSET = 1.02


def class_weights(scheme: str, pixels: np.ndarray, pixels_where_present: np.ndarray) -> np.ndarray:
    """Weights of classes from their share in the training labels.

    Args:
        scheme: ``none``; ``enet``: 1 / ln(1.10 + p), p the share of all labelled pixels
            (arXiv:1606.02147); ``linknet``: 1 / ln(1.02 + p / max p), as the code of
            arXiv:1707.03718 has it; ``median_frequency``: median(f) / f, f the share in the images
            that hold the class (Eigen and Fergus, arXiv:1411.4734).
        pixels: (C,) labelled pixels of each class.
        pixels_where_present: (C,) labelled pixels of the images that hold the class.

    Returns:
        (C,) float32; a class without pixels gets weight 0, or it would be infinite.
    """
    present = pixels > 0
    if scheme == 'none':
        return np.ones(len(pixels), np.float32)
    if scheme == 'enet':
        weights = 1 / np.log(ENET_OFFSET + pixels / max(pixels.sum(), 1))
    elif scheme == 'linknet':
        weights = 1 / np.log(LINKNET_OFFSET + pixels / max(pixels.max(), 1))
    elif scheme == 'median_frequency':
        frequency = np.where(present, pixels / np.maximum(pixels_where_present, 1), 1)
        median = float(np.median(frequency[present])) if present.any() else 1.0
        weights = median / frequency
    else:
        raise ValueError(
            f'unknown class weights {scheme!r}; available: none, enet, linknet, median_frequency'
        )
    return np.where(present, weights, 0).astype(np.float32)


class SegmentationLoss(nn.Module):
    """Weighted sum of terms, over the logits of a net and of its auxiliary heads.

    Args:
        terms: Weight per term: cross_entropy, ohem, focal, dice, lovasz.
        weights: (C,) float32 class weights of the terms per pixel.
        label_smoothing: Share of the truth given to all classes alike (cross_entropy, ohem).
        ohem_threshold: Pixels whose true class has at least this probability are left out.
        ohem_keep: Share of the labelled pixels that is kept in any case, the hardest first.
        focal_gamma: Exponent of focal.
        total_variation: Weight of the total variation of the probabilities.
        total_variation_channels: Channels that it acts on; all when empty.
        aux_weight: Weight of each ``aux_*`` output.
    """

    weights: Tensor

    def __init__(
        self,
        *,
        terms: Mapping[str, float],
        weights: Tensor,
        label_smoothing: float = 0.0,
        ohem_threshold: float = 0.7,
        ohem_keep: float = 0.1,
        focal_gamma: float = 2.0,
        total_variation: float = 0.0,
        total_variation_channels: tuple[int, ...] = (),
        aux_weight: float = 0.4,
    ) -> None:
        super().__init__()
        self.register_buffer('weights', weights)
        self.label_smoothing = label_smoothing
        self.ohem_threshold, self.ohem_keep = ohem_threshold, ohem_keep
        self.focal_gamma = focal_gamma
        self.variation_weight = total_variation
        self.variation_channels = total_variation_channels
        self.aux_weight = aux_weight
        known: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            'cross_entropy': self._cross_entropy,
            'ohem': self._ohem,
            'focal': self._focal,
            'dice': dice_loss,
            'lovasz': lovasz_loss,
        }
        if unknown := sorted(terms.keys() - known.keys()):
            raise ValueError(f'unknown losses {unknown}; available: {", ".join(known)}')
        self.terms = [(weight, known[name]) for name, weight in terms.items() if weight]

    def forward(self, outputs: Mapping[str, Tensor], labels_nhw: Tensor) -> Tensor:
        """Loss of a batch.

        Args:
            outputs: ``logits`` and ``aux_*``, each (N, C, h', w'); other maps are ignored.
            labels_nhw: (N, h, w) uint8 channels, 255 = void; reduced to the size of the logits by
                nearest where they differ.

        Returns:
            Scalar float32.
        """
        total = self._of_logits(outputs['logits'], labels_nhw)
        for name, logits in outputs.items():
            if name.startswith('aux_') and self.aux_weight:
                total = total + self.aux_weight * self._of_logits(logits, labels_nhw)
        return total

    def _of_logits(self, logits_nchw: Tensor, labels_nhw: Tensor) -> Tensor:
        logits = logits_nchw.float()
        labels = reduce_labels(labels_nhw, (logits.shape[2], logits.shape[3])).long()
        total = logits.new_zeros(())
        for weight, term in self.terms:
            total = total + weight * term(logits, labels)
        if self.variation_weight:
            total = total + self.variation_weight * total_variation(
                logits, self.variation_channels
            )
        return total

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        loss = F.cross_entropy(
            logits,
            labels,
            weight=self.weights,
            ignore_index=VOID_ID,
            label_smoothing=self.label_smoothing,
            reduction='sum',
        )
        return self._mean(loss, labels)

    def _focal(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Lin et al., arXiv:1708.02002: (1 - p)^gamma times the cross-entropy."""
        log_p = -F.cross_entropy(logits, labels, ignore_index=VOID_ID, reduction='none')
        hardness = (1 - log_p.exp()).clamp_min(0) ** self.focal_gamma
        loss = (-hardness * log_p * self._weight_of(labels)).sum()
        return self._mean(loss, labels)

    def _ohem(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the hard pixels only (Shrivastava et al., arXiv:1604.03540)."""
        losses = F.cross_entropy(
            logits,
            labels,
            weight=self.weights,
            ignore_index=VOID_ID,
            label_smoothing=self.label_smoothing,
            reduction='none',
        )
        valid = labels != VOID_ID
        with torch.no_grad():
            plain = F.cross_entropy(logits, labels, ignore_index=VOID_ID, reduction='none')[valid]
            hard = plain >= self._least_hard(plain)
            weight = self._weight_of(labels)[valid][hard].sum()
        return mean_over_processes(losses[valid][hard].sum(), weight)

    def _least_hard(self, losses: Tensor) -> Tensor:
        """The smallest loss of a hard pixel, from the (n,) losses of this process's pixels."""
        count = int(sum_over_processes(torch.tensor(losses.numel(), device=losses.device)))
        least = max(1, math.ceil(self.ohem_keep * count))
        # A pixel that is not among the hardest of its process is not among those of all.
        hardest = gather_rows(losses.topk(min(least, losses.numel()), sorted=False).values)
        bound = -math.log(max(self.ohem_threshold, 1e-6))
        if not count:
            return hardest.new_tensor(bound)
        return hardest.kthvalue(hardest.numel() - least + 1).values.clamp_max(bound)

    def _weight_of(self, labels: Tensor) -> Tensor:
        valid = labels != VOID_ID
        return self.weights[torch.where(valid, labels, 0)] * valid

    def _mean(self, loss_sum: Tensor, labels: Tensor) -> Tensor:
        return mean_over_processes(loss_sum, self._weight_of(labels).sum())


def reduce_labels(labels_nhw: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Bring labels to the size of logits that cover the same image, by nearest.

    Each logit takes the label at the centre of the block that it stands for; rows and columns that
    an odd size leaves beyond the image are void.
    """
    rows, columns = labels_nhw.shape[-2:]
    if (rows, columns) == size_hw:
        return labels_nhw
    step = math.ceil(max(rows / size_hw[0], columns / size_hw[1]))
    bottom, right = size_hw[0] * step - rows, size_hw[1] * step - columns
    padded = F.pad(labels_nhw, (0, right, 0, bottom), value=VOID_ID)
    return padded[..., step // 2 :: step, step // 2 :: step]


def mean_over_processes(loss_sum: Tensor, weight: Tensor) -> Tensor:
    """Divide this process's sum by the weight of all; the later mean of gradients is undone."""
    total = sum_over_processes(weight.detach().float().clone())
    return loss_sum * world_size() / total.clamp_min(1e-12)
