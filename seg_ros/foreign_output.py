"""What a foreign graph gives: logits, probabilities or ids, and the way from there to logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from seg_ros.foreign_graph import Steps
from seg_ros.model_card import InputSpec

ONE_HOT = 10.0  # logit of the class of an id, against 0 of the others
_SMALLEST = 1e-6  # probability; below, its logarithm says nothing
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class OutputPort:
    """What a foreign graph gives, as a run on a real image showed it.

    Attributes:
        name: Of the tensor.
        kind: ``logits``, ``probabilities`` or ``ids``.
        layout: ``nchw``, ``nhwc``, or ``nhw`` for ids without channels.
        is_binary: One channel for two classes: that of the second one.
        is_float32: Whether no cast is needed.
        hw: Rows and columns.
    """

    name: str
    kind: str
    layout: str
    is_binary: bool
    is_float32: bool
    hw: tuple[int, int]

    def __str__(self) -> str:
        form = 'one channel' if self.is_binary else self.layout
        return f'{self.kind} ({form}, {self.hw[0]}x{self.hw[1]})'

    def logits(self, raw: np.ndarray, num_classes: int) -> np.ndarray:
        """(C, h, w) float32 logits of what the graph gave."""
        if self.kind == 'ids':
            ids = raw.reshape(self.hw).astype(np.int64)
            wrong = ids[(ids < 0) | (ids >= num_classes)]
            if wrong.size:
                raise ValueError(
                    f'output {self.name!r} gives the id {wrong[0]}, and the classes are '
                    f'{num_classes}: list a class for each id from 0 on, in their order'
                )
            one_hot = ids[np.newaxis] == np.arange(num_classes)[:, np.newaxis, np.newaxis]
            return one_hot.astype(np.float32) * np.float32(ONE_HOT)
        values = raw[0].astype(np.float32)
        values = values.transpose(2, 0, 1) if self.layout == 'nhwc' else values
        if self.is_binary:
            first = 1 - values if self.kind == 'probabilities' else np.zeros_like(values)
            values = np.concatenate([first, values])
        if self.kind == 'probabilities':
            values = np.log(np.maximum(values, np.float32(_SMALLEST)))
        return np.ascontiguousarray(values)


def interpret(name: str, raw: Sequence[np.ndarray], num_classes: int) -> OutputPort:
    """Tell what an output is from what it gave for every image."""
    first = raw[0]
    described = f'output {name!r} is {first.dtype} {first.shape}'
    shape = first.shape
    is_float = np.issubdtype(first.dtype, np.floating)
    is_map = first.ndim in (2, 3, 4) and sum(size == 1 for size in shape) >= first.ndim - 2
    whole = is_map and all(bool((each == np.round(each)).all()) for each in raw)
    single = first.ndim == 4 and 1 in (shape[1], shape[3]) and shape[0] == 1
    if is_map and (not is_float or (whole and num_classes > 2)):
        rows, columns = shape[1:3] if first.ndim == 4 and shape[3] == 1 else shape[-2:]
        return OutputPort(name, 'ids', 'nhw', False, False, (rows, columns))
    if first.ndim != 4 or shape[0] != 1 or not is_float:
        raise ValueError(
            f'{described}; it must be logits, probabilities or ids of one image: '
            f'(1, {num_classes}, h, w), (1, h, w, {num_classes}) or (1, h, w)'
        )
    is_binary = num_classes == 2 and single
    channels = 1 if is_binary else num_classes
    if channels not in (shape[1], shape[3]):
        raise ValueError(
            f'{described}, and the classes are {num_classes}: list one class for each channel, in '
            'their order, or name another --output'
        )
    layout = 'nchw' if shape[1] == channels else 'nhwc'
    axis = 1 if layout == 'nchw' else 3
    kind = 'probabilities' if _are_probabilities(raw, axis, is_binary) else 'logits'
    hw = shape[2:] if layout == 'nchw' else shape[1:3]
    return OutputPort(name, kind, layout, is_binary, first.dtype == np.float32, hw)


def _are_probabilities(raw: Sequence[np.ndarray], axis: int, is_binary: bool) -> bool:
    for each in raw:
        if each.min() < 0 or each.max() > 1 + _SUM_TOLERANCE:
            return False
        if not is_binary and np.abs(each.sum(axis, np.float32) - 1).max() > _SUM_TOLERANCE:
            return False
    return True


def output_steps(
    start: str, output: OutputPort, spec: InputSpec, num_classes: int, opset: int
) -> Steps:
    """From the foreign output to ``logits``."""
    steps = Steps('output', start)
    rows, columns = output.hw
    if output.kind == 'ids':
        steps.add('Cast', to=TensorProto.INT32)
        steps.add('Reshape', np.array([1, 1, rows, columns], np.int64))
        steps.add('Equal', np.arange(num_classes, dtype=np.int32).reshape(1, -1, 1, 1))
        steps.add('Cast', to=TensorProto.FLOAT)
        steps.add('Mul', np.array(ONE_HOT, np.float32))
    else:
        if not output.is_float32:
            steps.add('Cast', to=TensorProto.FLOAT)
        if output.layout == 'nhwc':
            steps.add('Transpose', perm=[0, 3, 1, 2])
        if output.is_binary:
            second = steps.last
            zero_or_one = np.array(float(output.kind == 'probabilities'), np.float32)
            if output.kind == 'probabilities':
                first = steps.join('Sub', [steps.constant(zero_or_one), second])
            else:
                first = steps.join('Mul', [second, steps.constant(zero_or_one)])
            steps.join('Concat', [first, second], axis=1)
        if output.kind == 'probabilities':
            steps.add('Max', np.array(_SMALLEST, np.float32))
            steps.add('Log')
    height, width = (s // spec.logits_stride for s in (spec.height_px, spec.width_px))
    if (height, width) != output.hw:
        if opset < 11:
            raise ValueError(
                f'the output is {rows}x{columns}, which does not divide the input; that needs '
                'opset 11 or newer, export the graph with that'
            )
        sizes = steps.constant(np.array([1, num_classes, height, width], np.int64))
        empty = steps.constant(np.zeros(0, np.float32))
        steps.join('Resize', [steps.last, empty, empty, sizes], mode='linear')
    steps.join('Identity', [steps.last])
    steps.nodes[-1].output[0] = 'logits'
    return steps
