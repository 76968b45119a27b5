"""One of two processes: every loss, and its gradient by this process's images."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from seg_ros.training.distillation import distillation_loss
from seg_ros.training.distributed import process_group, rank
from seg_ros.training.losses import SegmentationLoss

TERMS = ('cross_entropy', 'ohem', 'focal', 'dice', 'lovasz', 'distillation')


def batches():
    """Name -> logits (4, 3, 6, 8) and labels (4, 6, 8); each process has two of the images."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 3, 6, 8, generator=generator)
    labels = torch.randint(0, 3, (4, 6, 8), generator=generator, dtype=torch.uint8)
    labels[0, :4] = 255
    labels[labels == 2] = 255
    labels[3, 2:4] = 2  # a class that the first process does not have
    half = labels.clone()
    half[:2] = 255
    return {
        'uneven': (logits, labels),
        'half': (logits, half),
        'void': (logits, torch.full_like(labels, 255)),
    }


def loss_and_gradient(name, logits, labels):
    """A loss on some images and its gradient by their logits."""
    logits = logits.clone().requires_grad_()
    if name == 'distillation':
        value = distillation_loss(logits, logits.detach().flip(1), labels, temperature=2.0)
    else:
        weights = torch.tensor([0.5, 2.0, 1.0])
        loss = SegmentationLoss(
            terms={name: 1.0}, weights=weights, ohem_threshold=0.9, ohem_keep=0.7
        )
        value = loss({'logits': logits}, labels)
    value.backward()
    return value.detach(), logits.grad


if __name__ == '__main__':
    with process_group('cpu'):
        mine = slice(2 * rank(), 2 * rank() + 2)
        found = {}
        for case, (images, truth) in batches().items():
            for term in TERMS:
                value, gradient = loss_and_gradient(term, images[mine], truth[mine])
                found[f'{case} {term} loss'] = value
                found[f'{case} {term} gradient'] = gradient
        save_file(found, Path(sys.argv[1]) / f'{rank()}.safetensors')
