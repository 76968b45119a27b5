"""Inference engines by name, one file each, imported when one is asked for."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import numpy as np

    from seg_ros.model_card import ModelCard

# name -> 'module:Class'; the order is the order of preference of 'auto'
BACKENDS: dict[str, str] = {
    'openvino': 'seg_ros.backends.openvino:OpenVinoBackend',
    'onnxruntime': 'seg_ros.backends.onnxruntime:OnnxRuntimeBackend',
    'torch': 'seg_ros.backends.torch_eager:TorchBackend',
}
AUTO = 'auto'


class Backend(Protocol):
    """One loaded model in one engine. Used by one thread at a time.

    Attributes:
        name: Key of ``BACKENDS``.
        device: Where it runs, as the engine spells it.
        precision: What it computes in: ``fp32``, ``bf16``, ``int8``.
    """

    name: str
    device: str
    precision: str

    def infer(self, image_hwc: np.ndarray) -> np.ndarray:
        """Run the net.

        Args:
            image_hwc: (h, w, 3) uint8 RGB, contiguous, of the card's input size.

        Returns:
            (C, h / stride, w / stride) float32 logits; valid until the next call.
        """
        ...


def load_backend(name: str, card: ModelCard, *, num_threads: int = 0) -> Backend:
    """Load a model into an engine.

    Args:
        name: Key of ``BACKENDS``, or ``auto`` for the first one whose engine is installed.
        card: The verified model card.
        num_threads: Threads the engine may use; 0 leaves the choice to it.

    Raises:
        ValueError: If the name is unknown, the engine is not installed or refuses the model.
        FileNotFoundError: If the model has no file for this engine.
    """
    if name == AUTO:
        name = next(filter(is_installed, BACKENDS), AUTO)
    if name not in BACKENDS:
        available = ', '.join([AUTO, *BACKENDS])
        raise ValueError(f'unknown backend {name!r}; available: {available}')
    module, _, attribute = BACKENDS[name].partition(':')
    try:
        backend = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise ValueError(
            f'backend {name!r} is not installed ({error}); installed: '
            f'{", ".join(filter(is_installed, BACKENDS)) or "none"}'
        ) from error
    return cast('Backend', backend(card, num_threads=num_threads))


def is_installed(name: str) -> bool:
    """Tell whether a backend's engine can be found, without importing it."""
    return importlib.util.find_spec(name) is not None
