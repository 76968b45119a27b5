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
