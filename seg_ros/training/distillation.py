"""Knowledge distillation: a net learns what a larger one answers, beside the truth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from seg_ros.datasets.mixture import require_same_classes
from seg_ros.model_card import VOID_ID, ClassInfo, load_model_card
from seg_ros.nets.deployed import load_net
from seg_ros.nets.segmentation_net import SegmentationNet
from seg_ros.segmenter import find_model
from seg_ros.training.config import TrainConfig
from seg_ros.training.losses import mean_over_processes, reduce_labels


def distillation_loss(
    logits_nchw: Tensor, teacher_nchw: Tensor, labels_nhw: Tensor, temperature: float
) -> Tensor:
    """Divergence of a net's answer from its teacher's (Hinton et al., arXiv:1503.02531).

    Kullback-Leibler divergence of the softened probabilities in nats, mean over the labelled
    pixels, times the square of the temperature, which keeps the gradient's size.

    Args:
        logits_nchw: (N, C, h, w) float32, of the net that learns.
        teacher_nchw: (N, C, h, w) float32, of the net that it learns from.
        labels_nhw: (N, h, w) uint8 channels; only pixels other than 255 count.
        temperature: What both logits are divided by.

    Returns:
        Scalar float32.
    """
    valid = labels_nhw != VOID_ID
    learned = F.log_softmax(logits_nchw / temperature, 1)
    taught = F.log_softmax(teacher_nchw / temperature, 1)
    divergence = F.kl_div(learned, taught, reduction='none', log_target=True).sum(1)
    total = torch.where(valid, divergence, 0.0).sum()
    return temperature**2 * mean_over_processes(total, valid.sum())


class Teacher:
    """A trained net that gives its answer on every training image.

    Args:
        net: In eval mode, on the device.
        scale: (1, 3, 1, 1) float32; times this and plus ``offset``, an image that is normalised
            for the net that learns is normalised for this one.
        offset: (1, 3, 1, 1) float32.
        weight: Of the divergence in the loss.
        temperature: See ``distillation_loss``.
    """

    def __init__(
        self,
        net: SegmentationNet,
        scale: Tensor,
        offset: Tensor,
        weight: float,
        temperature: float,
    ) -> None:
        self.net, self.weight, self.temperature = net, weight, temperature
        self._scale, self._offset = scale, offset

    def loss(self, image_nchw: Tensor, logits_nchw: Tensor, labels_nhw: Tensor) -> Tensor:
        """Weighted divergence from the teacher on a batch.

        Args:
            image_nchw: (N, 3, h, w) float32, normalised for the net that learns.
            logits_nchw: (N, C, h', w') what it answered.
            labels_nhw: (N, h, w) uint8 channels, 255 = void.

        Returns:
            Scalar float32.
        """
        rows, columns = logits_nchw.shape[2:]
        with torch.no_grad():
            image = image_nchw * self._scale + self._offset
            taught = self.net(image, full_resolution=True)['logits'].float()
            if taught.shape[2:] != (rows, columns):
                taught = F.interpolate(
                    taught, (rows, columns), mode='bilinear', align_corners=False
                )
        labels = reduce_labels(labels_nhw, (rows, columns))
        return self.weight * distillation_loss(
            logits_nchw.float(), taught, labels, self.temperature
        )


def build_teacher(
    config: TrainConfig, classes: Sequence[ClassInfo], device: torch.device
) -> Teacher | None:
    """Load the teacher of a run; None where it has none.

    Args:
        config: The run.
        classes: Of its data set; those of the teacher must be equal in id, name and order.
        device: Where to train.

    Raises:
        FileNotFoundError: If there is no such model folder.
        ValueError: If it is damaged or has other classes.
    """
    options = config.distillation
    if not options.teacher:
        return None
    card = load_model_card(find_model(options.teacher))
    require_same_classes(classes, card.classes, f'the teacher {options.teacher}')
    net = load_net(card).net.to(device).requires_grad_(requires_grad=False)
    if config.channels_last:
        net = net.to(memory_format=torch.channels_last)
    mean, std = (torch.tensor(of, device=device) for of in config.normalization)
    its_mean, its_std = (
        torch.tensor(of, device=device) for of in (card.input.mean, card.input.std)
    )
    scale, offset = std / its_std, (mean - its_mean) / its_std
    return Teacher(
        net,
        scale.view(1, 3, 1, 1),
        offset.view(1, 3, 1, 1),
        options.weight,
        options.temperature,
    )
