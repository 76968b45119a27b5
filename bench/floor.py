"""The arithmetic floor: how fast this machine multiplies, measured where it does nothing else.

A chain of wide convolutions runs in OpenVINO in each precision; what it reaches is the peak that
the time of a net is compared with. A net cannot be faster than its multiplications at that rate.
"""

from __future__ import annotations

import time

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from seg_ros.backends.openvino import shared_core

_CHANNELS, _LAYERS = 256, 4
_SHAPES = ((3, 60, 80), (1, 60, 80))  # kernel, rows, columns
_HINTS = {'fp32': 'f32', 'bf16': 'bf16', 'int8': 'f32'}
_EXECUTED = {'fp32': {'f32'}, 'bf16': {'bf16'}, 'int8': {'i8', 'u8'}}


class PeakProbe:
    """One chain of convolutions, compiled.

    Args:
        precision: ``fp32``, ``bf16`` or ``int8``.
        kernel: Side of the kernels; 3 and 1 are what nets are made of.
        rows: Of the map.
        columns: Of the map.
        threads: Threads of the engine.

    Raises:
        ValueError: If the machine does not compute in this precision.
    """

    def __init__(self, precision: str, kernel: int, rows: int, columns: int, threads: int) -> None:
        settings = {
            'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_PRECISION_HINT': _HINTS[precision],
            'INFERENCE_NUM_THREADS': str(threads),
        }
        model = _convolutions(kernel, rows, columns, quantised=precision == 'int8')
        compiled = shared_core().compile_model(model, 'CPU', settings)
        _check_executed(compiled, precision)
        self._request = compiled.create_infer_request()
        self._image = np.random.default_rng(0).random((1, _CHANNELS, rows, columns), np.float32)
        self.gflop = 2e-9 * _LAYERS * rows * columns * (_CHANNELS * kernel) ** 2

    def run(self) -> float:
        """Run once: GFLOP/s, a multiplication and an addition being two."""
        start = time.perf_counter()
        self._request.infer({0: self._image})
        return self.gflop / (time.perf_counter() - start)


class Peak:
    """The peak of one precision; probed again in every round, the best counts."""

    def __init__(self, precision: str, threads: int) -> None:
        self._probes = [PeakProbe(precision, *shape, threads) for shape in _SHAPES]
        self.gflop_per_s = 0.0
        self.run()

    def run(self, repeats: int = 3) -> None:
        """Probe."""
        best = max(probe.run() for probe in self._probes for _ in range(repeats))
        self.gflop_per_s = max(self.gflop_per_s, best)


def _convolutions(kernel: int, rows: int, columns: int, *, quantised: bool) -> ov.Model:
    random = np.random.default_rng(0)
    image = ops.parameter([1, _CHANNELS, rows, columns], np.float32)
    node, pad = image, kernel // 2
    for _ in range(_LAYERS):
        shape = (_CHANNELS, _CHANNELS, kernel, kernel)
        weights = random.integers(-127, 128, shape).astype(np.int8)
        kernels = ops.convert(ops.constant(weights), 'f32')
        scale = np.full((_CHANNELS, 1, 1, 1), 1e-3 / kernel, np.float32)
        if quantised:
            node = ops.fake_quantize(node, 0.0, 1.0, 0.0, 1.0, levels=256)
            kernels = ops.multiply(kernels, ops.constant(scale))
        else:
            kernels = ops.constant(weights.astype(np.float32) * scale)
        node = ops.convolution(node, kernels, [1, 1], [pad, pad], [pad, pad], [1, 1])
        node = ops.relu(node)
    return ov.Model([node], [image])


def _check_executed(compiled: ov.CompiledModel, precision: str) -> None:
    """Refuse a peak that was measured in something else."""
    ran = {
        node.get_rt_info()['runtimePrecision'].astype(str).lower()
        for node in compiled.get_runtime_model().get_ops()
        if node.get_rt_info()['layerType'].astype(str) == 'Convolution'
    }
    if not ran or not ran <= _EXECUTED[precision]:
        raise ValueError(f'{precision} convolutions run in {sorted(ran)} here')
