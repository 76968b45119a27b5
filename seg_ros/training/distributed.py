"""Several processes as one run, started by ``torchrun``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Value = TypeVar('Value')


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the other processes that ``torchrun`` started; nothing where it did not.

    Args:
        device: ``cuda`` talks over NCCL, anything else over gloo.
    """
    if int(os.environ.get('WORLD_SIZE', '1')) == 1:
        yield
        return
    if device == 'cuda':
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', '0')))
    dist.init_process_group('nccl' if device == 'cuda' else 'gloo')
    try:
        yield
    finally:
        dist.destroy_process_group()


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process; process 0 alone writes files."""
    return dist.get_rank() if dist.is_initialized() else 0


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Sum a tensor in place over all processes."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def differentiable_sum(local: Tensor) -> Tensor:
    """Sum over all processes, of which each differentiates by its own part.

    The gradient is scaled by the number of processes, as ``DistributedDataParallel`` divides by
    it: a loss of such sums has the gradient that one process with all the images would compute.
    """
    if not dist.is_initialized():
        return local
    return sum_over_processes(local.detach().clone()) + _scaled_gradient(local)


def gather_rows(local: Tensor) -> Tensor:
    """The rows of all processes one below the other; gradients as of ``differentiable_sum``.

    Args:
        local: (n, ...) with an n that may differ from process to process, or be 0.
    """
    if not dist.is_initialized():
        return local
    counts = [torch.zeros(1, dtype=torch.int64, device=local.device) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([len(local)], device=local.device))
    lengths = [int(count) for count in counts]
    padded = local.new_zeros((max(1, *lengths), *local.shape[1:]))
    padded[: len(local)] = local.detach()
    blocks = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(blocks, padded)
    parts = [block[:length] for block, length in zip(blocks, lengths, strict=True)]
    parts[rank()] = local.detach() + _scaled_gradient(local)
    return torch.cat(parts)


def _scaled_gradient(local: Tensor) -> Tensor:
    """Zeros with the gradient of ``local`` times the number of processes."""
    return world_size() * (local - local.detach())


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set in any process."""
    if not dist.is_initialized():
        return flag
    return bool(sum_over_processes(torch.tensor(float(flag), device=device)) > 0)


def from_first(value: Value) -> Value:
    """What process 0 has."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if dist.is_initialized():
        dist.barrier()
