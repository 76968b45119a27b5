"""PyTorch eager: for development and as the reference that the other engines are tested against.

It is the one engine that needs the net's Python code, hence the one backend that looks into
``seg_ros.nets``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from seg_ros.nets.deployed import load_net

if TYPE_CHECKING:
    from seg_ros.model_card import ModelCard


class TorchBackend:
    """Runs ``weights.safetensors`` on the CPU in fp32."""

    name = 'torch'
    device = 'CPU'
    precision = 'fp32'

    def __init__(self, card: ModelCard, *, num_threads: int = 0) -> None:
        if num_threads:
            torch.set_num_threads(num_threads)
        self._net = load_net(card)

    def infer(self, image_hwc: np.ndarray) -> np.ndarray:
        """Run the net; see ``Backend.infer``."""
        with torch.inference_mode():
            logits = self._net(torch.from_numpy(np.ascontiguousarray(image_hwc))[None])
        return np.asarray(logits[0].float().numpy())
