"""ONNX Runtime: small, quick to start, on every processor that Python runs on, and on CUDA."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from seg_ros.backends import AUTO, CPU, CUDA, TENSORRT, has_nvidia_driver
from seg_ros.backends.choice import (
    FP16,
    FP32,
    INT8,
    choose_precision,
    cpu_precisions,
    processor_flags,
)

if TYPE_CHECKING:
    from seg_ros.model_card import ModelCard

LOG = logging.getLogger(__name__)

_PROVIDERS = {
    CPU: 'CPUExecutionProvider',
    CUDA: 'CUDAExecutionProvider',
    TENSORRT: 'TensorrtExecutionProvider',
}

# Nets of depthwise convolutions on processors with VNNI: docs/benchmarks.md.
_SLOW_IN_INT8 = frozenset({'fast_scnn', 'mobilenet_unet'})


class OnnxRuntimeBackend:
    """Runs ``model.onnx`` or its int8 variant; the output stays bound to the same memory."""

    name = 'onnxruntime'
    max_batch = 1  # the graph's batch is 1

    def __init__(
        self,
        card: ModelCard,
        *,
        precision: str = AUTO,
        device: str = AUTO,
        num_threads: int = 0,
        max_batch: int = 1,  # noqa: ARG002 - images that come together are taken in turn
    ) -> None:
        self.device = _choose_device(device)
        self._start(card, precision, num_threads)
        provider = _PROVIDERS[self.device]
        # A provider that cannot start (no driver, another CUDA) is left out without an error.
        if provider not in self._session.get_providers():
            problem = f'{provider} is installed and does not start, its messages say why'
            if device != AUTO:
                raise ValueError(f'{problem}; there are {", ".join(self.devices())}')
            LOG.warning('%s; onnxruntime runs on the CPU', problem)
            self.device = CPU
            self._start(card, precision, num_threads)
        # Of the card, not of the graph: where they differ the first run fails.
        spec = card.input
        rows, columns = (size // spec.logits_stride for size in (spec.height_px, spec.width_px))
        shape = (1, card.num_classes, rows, columns)
        self._logits = np.empty(shape, np.float32)
        self._binding = self._session.io_binding()
        address = self._logits.ctypes.data
        self._binding.bind_output('logits', 'cpu', 0, np.float32, shape, address)

    @staticmethod
    def devices() -> tuple[str, ...]:
        """See ``Backend.devices``."""
        available = ort.get_available_providers()
        return tuple(device for device, name in _PROVIDERS.items() if name in available)

    def infer(self, image_hwc: np.ndarray) -> np.ndarray:
        """Run the net; see ``Backend.infer``."""
        shape = (1, *image_hwc.shape)
        self._binding.bind_input('image', 'cpu', 0, np.uint8, shape, image_hwc.ctypes.data)
        self._session.run_with_iobinding(self._binding)
        return self._logits[0]

    def infer_batch(self, images_nhwc: np.ndarray) -> np.ndarray:
        """Run the net; see ``Backend.infer_batch``."""
        return self.infer(images_nhwc[0])[np.newaxis]

    def _start(self, card: ModelCard, precision: str, num_threads: int) -> None:
        available = _precisions(self.device)
        where = f'ONNX Runtime on {self.device}'
        slow = _SLOW_IN_INT8 if self.device == CPU else frozenset()
        choice = choose_precision(precision, card, available, where, slow_in_int8=slow)
        self.precision, self.reason = choice.precision, choice.reason
        options = ort.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; a message of every run would flood the node's log
        graph = card.read_graph(self.precision)
        providers = [(_PROVIDERS[self.device], _provider_options(self.device, self.precision))]
        try:
            self._session = ort.InferenceSession(graph, options, providers=providers)
        except Exception as error:  # its errors share no narrower class
            raise ValueError(f'ONNX Runtime refuses {card.name}: {error}') from error


def _choose_device(device: str) -> str:
    devices = OnnxRuntimeBackend.devices()
    if device == AUTO:
        return CUDA if CUDA in devices and has_nvidia_driver() else CPU
    if device not in devices:
        raise ValueError(
            f'ONNX Runtime has no device {device!r} here; its execution providers are '
            f'{", ".join(ort.get_available_providers())}'
            ' (those for NVIDIA come with onnxruntime-gpu)'
        )
    return device


def _precisions(device: str) -> dict[str, str]:
    """Precision -> why it pays on a device, fastest first; see ``choose_precision``."""
    if device == CPU:
        return cpu_precisions({'FP32', 'INT8'}, processor_flags())
    if device == CUDA:
        return {FP32: 'the CUDA execution provider computes as the graph is stored'}
    return {FP16: 'TensorRT computes fp16 in tensor cores', FP32: '', INT8: ''}


def _provider_options(device: str, precision: str) -> dict[str, Any]:
    if device != TENSORRT:
        return {}
    # Building an engine takes minutes; it is kept for the next start.
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'seg_ros/tensorrt'
    return {
        'trt_fp16_enable': precision != FP32,
        'trt_int8_enable': precision == INT8,
        'trt_engine_cache_enable': True,
        'trt_engine_cache_path': str(cache),
    }
