"""Inference engines by name, one file each, imported when one is asked for."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from seg_ros.backends.choice import AUTO, PRECISIONS
from seg_ros.cpu_quota import cpu_quota

if TYPE_CHECKING:
    import numpy as np

    from seg_ros.model_card import ModelCard

__all__ = ['AUTO', 'BACKENDS', 'DEVICES', 'PRECISIONS', 'Backend', 'is_installed', 'load_backend']

LOG = logging.getLogger(__name__)

# name -> 'module:Class'; the order is the order of preference of 'auto'
BACKENDS: dict[str, str] = {
    'openvino': 'seg_ros.backends.openvino:OpenVinoBackend',
    'onnxruntime': 'seg_ros.backends.onnxruntime:OnnxRuntimeBackend',
    'torch': 'seg_ros.backends.torch_eager:TorchBackend',
}
CPU, CUDA, TENSORRT = 'cpu', 'cuda', 'tensorrt'
DEVICES = (AUTO, CPU, CUDA, TENSORRT)
# Made by NVIDIA's driver, on a computer and on a Jetson; a look costs no import of an engine.
_NVIDIA_FILES = ('/dev/nvidiactl', '/dev/nvhost-ctrl')


class Backend(Protocol):
    """One loaded model in one engine. Used by one thread at a time.

    Attributes:
        name: Key of ``BACKENDS``.
        device: Where it really runs: ``cpu``, ``cuda`` or ``tensorrt``.
        precision: What it computes in: ``fp32``, ``bf16``, ``fp16`` or ``int8``.
        reason: Why this precision, in one line.
        max_batch: Images that ``infer_batch`` takes in one go at most; 1 where it takes none
            together.
    """

    name: str
    device: str
    precision: str
    reason: str
    max_batch: int

    @staticmethod
    def devices() -> tuple[str, ...]:
        """Devices of ``DEVICES`` that this engine can use here."""
        ...

    def infer(self, image_hwc: np.ndarray) -> np.ndarray:
        """Run the net.

        Args:
            image_hwc: (h, w, 3) uint8 RGB, contiguous, of the card's input size.

        Returns:
            (C, h / stride, w / stride) float32 logits; valid until the next call.
        """
        ...

    def infer_batch(self, images_nhwc: np.ndarray) -> np.ndarray:
        """Run the net on up to ``max_batch`` images.

        Args:
            images_nhwc: (N, h, w, 3) uint8 RGB, contiguous, of the card's input size.

        Returns:
            (N, C, h / stride, w / stride) float32 logits; valid until the next call.
        """
        ...


def load_backend(
    name: str,
    card: ModelCard,
    *,
    precision: str = AUTO,
    num_threads: int = 0,
    device: str = AUTO,
    max_batch: int = 1,
) -> Backend:
    """Load a model into an engine and log what was chosen.

    Args:
        name: Key of ``BACKENDS``, or ``auto`` for the first installed one that has the device.
        card: The verified model card.
        precision: ``fp32``, ``bf16``, ``fp16``, ``int8``, or ``auto`` for the fastest whose
            labels are as good; see ``choice``.
        num_threads: Threads the engine may use; 0 leaves the choice to it, within the CPU quota.
        device: ``cpu``, ``cuda`` or ``tensorrt``; ``auto`` takes CUDA where an engine has it.
            What is asked for by name is used or refused, never replaced.
        max_batch: Images that may come together; more than one costs memory.

    Raises:
        ValueError: If a name is unknown, the engine is not installed, lacks the device or the
            precision, or refuses the model.
        FileNotFoundError: If the model has no file for this engine.
    """
    if name not in (AUTO, *BACKENDS):
        raise ValueError(f'unknown backend {name!r}; available: {", ".join([AUTO, *BACKENDS])}')
    if device not in DEVICES:
        raise ValueError(f'unknown device {device!r}; available: {", ".join(DEVICES)}')
    if max_batch < 1:
        raise ValueError(f'max_batch is {max_batch}; allowed are 1 and above')
    if name == AUTO:
        name = _best_backend(device)
    if not num_threads and (num_threads := cpu_quota()):
        LOG.info('the CPU quota of this process allows %d threads', num_threads)
    backend: Backend = _class_of(name)(
        card, precision=precision, num_threads=num_threads, device=device, max_batch=max_batch
    )
    LOG.info(
        '%s: %s %s on %s: %s', card.name, name, backend.precision, backend.device, backend.reason
    )
    return backend


def is_installed(name: str) -> bool:
    """Tell whether a backend's engine can be found, without importing it."""
    return importlib.util.find_spec(name) is not None


def has_nvidia_driver() -> bool:
    """Tell whether there may be a CUDA device, without importing an engine."""
    return any(Path(file).exists() for file in _NVIDIA_FILES)


def _best_backend(device: str) -> str:
    """First installed backend; one with CUDA comes first where there is an NVIDIA device."""
    installed = [name for name in BACKENDS if is_installed(name)]
    if not installed:
        raise ValueError(f'no engine is installed; install one of {", ".join(BACKENDS)}')
    if device == CPU or (device == AUTO and not has_nvidia_driver()):
        return installed[0]
    wanted = CUDA if device == AUTO else device
    having = {name: _class_of(name).devices() for name in installed}
    for name, devices in having.items():
        if wanted in devices:
            return name
    if device == AUTO:
        return installed[0]
    there = '; '.join(f'{name}: {", ".join(devices)}' for name, devices in having.items())
    raise ValueError(f'no installed engine has device {device!r}; there are {there}')


def _class_of(name: str) -> Any:
    module, _, attribute = BACKENDS[name].partition(':')
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise ValueError(
            f'backend {name!r} is not installed ({error}); installed: '
            f'{", ".join(filter(is_installed, BACKENDS)) or "none"}'
        ) from error
