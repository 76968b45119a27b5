"""Scores of a net on images that it was not trained with, as a deployed net would see them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_ros.metrics import Scores, confusion_matrix, scores_from_confusion
from seg_ros.model_card import VOID_ID, InputSpec
from seg_ros.preprocess import Placement, crop_logits, place, to_network
from seg_ros.training.distributed import rank, sum_over_processes, world_size
from seg_ros.training.loader import ImageStore


@contextmanager
def evaluation_mode(net: nn.Module) -> Iterator[None]:
    """Eval mode within the context; afterwards every module is in the mode that it was in.

    The net may be the one that is being trained, with parts of it at rest.
    """
    before = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@dataclass(frozen=True)
class Validation:
    """What came out.

    Attributes:
        scores: Of all images together.
        confusion: (C, C + 1) as ``metrics.confusion_matrix``.
        iou_of_image: Position in the store -> mIoU of that image alone; this process's images.
        loss: Cross entropy of the labelled pixels, weighted by class; NaN where there are none.
    """

    scores: Scores
    confusion: np.ndarray
    iou_of_image: dict[int, float]
    loss: float


class Validator:
    """Runs a net over images at their own size, with preprocessing and padding of deployment.

    Args:
        store: The validation images.
        spec: Input of the net.
        num_classes: Number of channels.
        device: Where the net is.
        batch_size: Images per run of the net.
        weights: (C,) float32, weights of the classes in the loss; all alike when None.
    """

    def __init__(
        self,
        store: ImageStore,
        spec: InputSpec,
        num_classes: int,
        device: torch.device,
        *,
        batch_size: int = 8,
        weights: Tensor | None = None,
    ) -> None:
        self.store, self.spec, self.num_classes = store, spec, num_classes
        self.device, self.batch_size = device, batch_size
        self._weights = (torch.ones(num_classes) if weights is None else weights).to(device)
        self._mean = torch.tensor(spec.mean, device=device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(spec.std, device=device).view(1, 3, 1, 1) * 255

    def run(self, net: nn.Module, autocast: torch.autocast) -> Validation:
        """Score a net, over all processes."""
        confusion = torch.zeros(self.num_classes, self.num_classes + 1, dtype=torch.float64)
        loss = torch.zeros(2, dtype=torch.float64, device=self.device)  # sum and its weight
        iou_of_image: dict[int, float] = {}
        mine = range(rank(), len(self.store), world_size())
        for start in range(0, len(mine), self.batch_size):
            positions = mine[start : start + self.batch_size]
            for position, logits_chw, truth in self._predict(net, positions, autocast):
                labels = _strongest(logits_chw)
                loss += self._loss(logits_chw, truth)
                matrix = confusion_matrix(truth, labels, self.num_classes)
                confusion += torch.from_numpy(matrix)
                iou_of_image[position] = scores_from_confusion(matrix).mean_iou
        total = sum_over_processes(confusion.to(self.device)).cpu().numpy().astype(np.int64)
        loss = sum_over_processes(loss)
        mean = float(loss[0] / loss[1])
        return Validation(scores_from_confusion(total), total, iou_of_image, mean)

    def predict(self, net: nn.Module, position: int, autocast: torch.autocast) -> np.ndarray:
        """(H, W) uint8 channels of one image at its own size."""
        return _strongest(self._predict(net, range(position, position + 1), autocast)[0][1])

    @torch.no_grad()
    def _predict(
        self, net: nn.Module, positions: range, autocast: torch.autocast
    ) -> list[tuple[int, Tensor, np.ndarray]]:
        """Position, (C, H, W) logits and (H, W) truth of some images at their own size."""
        prepared, truths = [], []
        for position in positions:
            image, labels = self.store[position]
            network_hwc, placement = self._prepare(image)
            prepared.append((network_hwc, placement))
            truths.append(labels.cpu().numpy())
        batch = torch.from_numpy(np.stack([array for array, _ in prepared]))
        image_nchw = batch.to(self.device).permute(0, 3, 1, 2).float()
        with evaluation_mode(net), autocast:
            logits = net((image_nchw - self._mean) / self._std)['logits'].float()
        return [
            (position, _enlarge(logits[i], prepared[i][1]), truths[i])
            for i, position in enumerate(positions)
        ]

    def _prepare(self, image_chw: Tensor) -> tuple[np.ndarray, Placement]:
        image_hwc = np.ascontiguousarray(image_chw.permute(1, 2, 0).cpu().numpy())
        placement = place((image_hwc.shape[0], image_hwc.shape[1]), self.spec)
        return to_network(image_hwc, placement, 'rgb', self.spec.mean), placement

    def _loss(self, logits_chw: Tensor, truth_hw: np.ndarray) -> Tensor:
        """(2,) float64: sum of the weighted cross entropies of the pixels, and of the weights."""
        truth = torch.from_numpy(truth_hw).to(self.device).long()[None]
        valid = truth != VOID_ID
        losses = F.cross_entropy(
            logits_chw[None], truth, self._weights, ignore_index=VOID_ID, reduction='sum'
        )
        weight = (self._weights[torch.where(valid, truth, 0)] * valid).sum()
        return torch.stack([losses, weight]).double()


def _enlarge(logits_chw: Tensor, placement: Placement) -> Tensor:
    """(C, H, W) logits at the size of the image."""
    cropped = crop_logits(logits_chw, placement)  # type: ignore[arg-type]
    return F.interpolate(
        cropped[None],  # type: ignore[arg-type]
        size=placement.camera_hw,
        mode='bilinear',
        align_corners=False,
    )[0]


def _strongest(logits_chw: Tensor) -> np.ndarray:
    """(H, W) uint8 channels."""
    return logits_chw.argmax(0).to(torch.uint8).cpu().numpy()
