"""PyTorch eager: for development, for CUDA, and as the reference of the other engines' tests.

It is the one engine that needs the net's Python code, hence the one backend that looks into
``seg_ros.nets``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from seg_ros.backends import AUTO, CPU, CUDA
from seg_ros.backends.choice import BF16, FP16, FP32, choose_precision
from seg_ros.nets.deployed import load_net

if TYPE_CHECKING:
    from seg_ros.model_card import ModelCard

_DTYPES = {BF16: torch.bfloat16, FP16: torch.float16}


class TorchBackend:
    """Runs ``weights.safetensors``: on the CPU in fp32 unless told otherwise."""

    name = 'torch'

    def __init__(
        self,
        card: ModelCard,
        *,
        precision: str = AUTO,
        device: str = AUTO,
        num_threads: int = 0,
        max_batch: int = 1,
    ) -> None:
        devices = self.devices()
        if device not in (AUTO, *devices):
            raise ValueError(f'torch has no device {device!r} here; it has {", ".join(devices)}')
        self.device = devices[-1] if device == AUTO else device
        choice = choose_precision(
            precision, card, _precisions(self.device), f'torch on {self.device}'
        )
        self.precision, self.reason = choice.precision, choice.reason
        self.max_batch = max_batch
        if num_threads:
            torch.set_num_threads(num_threads)
        self._net = load_net(card).to(self.device)

    @staticmethod
    def devices() -> tuple[str, ...]:
        """See ``Backend.devices``."""
        return (CPU, CUDA) if torch.cuda.is_available() else (CPU,)

    def infer(self, image_hwc: np.ndarray) -> np.ndarray:
        """Run the net; see ``Backend.infer``."""
        return self.infer_batch(image_hwc[np.newaxis])[0]

    def infer_batch(self, images_nhwc: np.ndarray) -> np.ndarray:
        """Run the net; see ``Backend.infer_batch``."""
        # The bytes go up, normalisation is the graph's.
        if not images_nhwc.flags.writeable:  # torch has no such arrays and warns of them
            images_nhwc = images_nhwc.copy()
        images = torch.from_numpy(np.ascontiguousarray(images_nhwc)).to(self.device)
        dtype = _DTYPES.get(self.precision)
        with torch.inference_mode(), torch.autocast(self.device, dtype, enabled=dtype is not None):
            logits = self._net(images)
        return np.asarray(logits.float().cpu().numpy())


def _precisions(device: str) -> dict[str, str]:
    if device == CUDA:
        return {FP16: 'CUDA has tensor cores for fp16', BF16: '', FP32: ''}
    return {FP32: 'the reference of the other engines', BF16: ''}
