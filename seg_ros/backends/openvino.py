"""OpenVINO: the fastest engine measured on x86 and 64-bit Arm processors."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov

from seg_ros.backends import AUTO, CPU
from seg_ros.backends.choice import (
    BF16,
    FP16,
    choose_precision,
    cpu_precisions,
    processor_flags,
)

if TYPE_CHECKING:
    from seg_ros.model_card import ModelCard

LOG = logging.getLogger(__name__)

# What is computed with outside int8 layers, too; int8 graphs were measured with fp32 there.
_HINTS = {BF16: 'bf16', FP16: 'f16'}


@functools.cache
def shared_core() -> Any:
    """The one OpenVINO runtime of this process, never freed.

    Its CPU plugin gives the thread an alternate stack for signals and puts the one before back
    when it goes. With two that go in the order in which they came, that is memory of the first:
    the next signal that Python handles (SIGINT, SIGCHLD) ends the process (seen with 2026.4.1).
    """
    return ov.Core()


class OpenVinoBackend:
    """Runs ``model.onnx`` or its int8 variant on the CPU, one request reused for every frame."""

    name = 'openvino'
    device = CPU

    def __init__(
        self,
        card: ModelCard,
        *,
        precision: str = AUTO,
        device: str = AUTO,
        num_threads: int = 0,
        max_batch: int = 1,
    ) -> None:
        if device not in (AUTO, CPU):
            raise ValueError(
                f'OpenVINO has no device {device!r} here; it runs on the cpu. '
                "For NVIDIA take backend 'onnxruntime' or 'torch'"
            )
        core = shared_core()
        capabilities = frozenset(core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES'))
        available = cpu_precisions(capabilities, processor_flags())
        choice = choose_precision(precision, card, available, 'OpenVINO')
        self.precision, self.reason = choice.precision, choice.reason
        self.max_batch = 1
        # LATENCY: one stream over all cores, its threads pinned to them.
        settings = {
            'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_PRECISION_HINT': _HINTS.get(self.precision, 'f32'),
        }
        if num_threads:
            settings['INFERENCE_NUM_THREADS'] = str(num_threads)
        graph = card.read_graph(self.precision)
        try:
            model = core.read_model(graph)
            self._request = core.compile_model(model, 'CPU', settings).create_infer_request()
            if max_batch > 1:
                self._batch_request = _batched(core, model, settings, max_batch)
                self.max_batch = max_batch if self._batch_request else 1
        except RuntimeError as error:
            raise ValueError(f'OpenVINO refuses {card.name}: {error}') from error

    @staticmethod
    def devices() -> tuple[str, ...]:
        """See ``Backend.devices``."""
        return (CPU,)

    def infer(self, image_hwc: np.ndarray) -> np.ndarray:
        """Run the net; see ``Backend.infer``."""
        return _run(self._request, image_hwc[np.newaxis])[0]

    def infer_batch(self, images_nhwc: np.ndarray) -> np.ndarray:
        """Run the net; see ``Backend.infer_batch``."""
        # One image has a graph of fixed shape, which engines run fastest.
        request = self._request if len(images_nhwc) == 1 else self._batch_request
        return _run(request, images_nhwc)


def _run(request: Any, images_nhwc: np.ndarray) -> np.ndarray:
    if not images_nhwc.flags.writeable:  # such as a bag's message, whose pixels are the input
        images_nhwc = images_nhwc.copy()
    request.set_tensor('image', ov.Tensor(images_nhwc, shared_memory=True))
    request.infer()
    return request.get_tensor('logits').data


def _batched(core: Any, model: Any, settings: dict[str, str], most: int) -> Any:
    """Compile the graph for 2 to ``most`` images; None where it has constants of batch 1.

    One graph of open batch: one for each size would keep as many copies of the weights. It is run
    once with each size, as it is then that its kernels are made.
    """
    image_hwc = tuple(model.input('image').shape)[1:]
    try:
        model.reshape(ov.PartialShape([ov.Dimension(2, most), *image_hwc]))
        request = core.compile_model(model, 'CPU', settings).create_infer_request()
        sizes = range(2, most + 1)
        if all(len(_run(request, np.zeros((n, *image_hwc), np.uint8))) == n for n in sizes):
            return request
    except RuntimeError as error:
        LOG.debug('no batch of %d: %s', most, error)
    LOG.info('the graph takes one image at a time; a batch of %d is taken in turn', most)
    return None
