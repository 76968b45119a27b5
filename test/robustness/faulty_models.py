"""Small models with a fault: slow, or failing at some pictures, or not what their card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from seg_ros.model_card import GRAPH_FILE, InputSpec, ModelCard, save_model_card
from test.conftest import PRIMARY_CLASSES

HEIGHT, WIDTH, STRIDE = 48, 64, 4
FAILS_AT = 255  # red of the first pixel


def write_slow_model(folder: Path, layers: int = 16, width: int = 64) -> Path:
    """A model whose inference takes long: 0.09 GMAC per layer at 48x64 pixels and width 64.

    All layers but the first share their weights, so that many of them are no large file.
    """
    rng = np.random.default_rng(0)
    nodes, tensors = _head(), []
    for name, channels in (('first', 3), ('others', width)):
        kernel = rng.standard_normal((width, channels, 3, 3)) * np.sqrt(2 / (9 * channels))
        tensors.append(numpy_helper.from_array(kernel.astype(np.float32), name))
    before = 'chw'
    for index in range(layers):
        kernel_name = 'others' if index else 'first'
        conv = helper.make_node('Conv', [before, kernel_name], [f'conv{index}'], pads=[1, 1, 1, 1])
        nodes += [conv, helper.make_node('Relu', [f'conv{index}'], [f'relu{index}'])]
        before = f'relu{index}'
    last = (rng.standard_normal((3, width, 1, 1)) * 0.05).astype(np.float32)
    tensors.append(numpy_helper.from_array(last, 'last'))
    nodes.append(helper.make_node('Conv', [before, 'last'], ['scaled']))
    nodes.append(_pool())
    return write_model(folder, nodes, tensors)


def write_failing_model(folder: Path) -> Path:
    """The primary model, which ends in an error of the engine when the first pixel is red."""
    table = numpy_helper.from_array(np.full(FAILS_AT, 10 / 255, np.float32), 'table')
    start = numpy_helper.from_array(np.zeros(4, np.int64), 'start')
    stop = numpy_helper.from_array(np.ones(4, np.int64), 'stop')
    nodes = [
        *_head(),
        helper.make_node('Slice', ['image', 'start', 'stop'], ['corner']),
        helper.make_node('Cast', ['corner'], ['index'], to=TensorProto.INT64),
        # an index that the table does not have
        helper.make_node('Gather', ['table', 'index'], ['scale']),
        helper.make_node('Mul', ['chw', 'scale'], ['scaled']),
        _pool(),
    ]
    return write_model(folder, nodes, [table, start, stop])


def write_undefined_model(folder: Path, *, on_grey: bool = False) -> Path:
    """The primary model, which gives NaN where green is stronger than red.

    Args:
        folder: To be made.
        on_grey: Whether it gives infinity where a pixel is black as well.
    """
    constants = {'scale': 10 / 255, 'one': 1.0, 'little': 1e-3}
    tensors = [numpy_helper.from_array(np.array([v], np.float32), k) for k, v in constants.items()]
    nodes = [
        *_head(),
        helper.make_node('Mul', ['chw', 'scale'], ['plain']),
        helper.make_node('Split', ['chw'], ['red', 'green', 'blue'], axis=1, num_outputs=3),
        helper.make_node('Sub', ['red', 'green'], ['redness']),
        helper.make_node('Add', ['redness', 'one'], ['root']),
        helper.make_node('Sqrt', ['root'], ['undefined']),
        helper.make_node('Reciprocal' if on_grey else 'Identity', ['blue'], ['other']),
        helper.make_node('Mul', ['undefined', 'little'], ['small']),
        helper.make_node('Mul', ['other', 'little'], ['smaller']),
        helper.make_node('Add', ['plain', 'small'], ['sum']),
        helper.make_node('Add', ['sum', 'smaller'], ['scaled']),
        _pool(),
    ]
    return write_model(folder, nodes, tensors, opset=18)


def write_model(
    folder: Path,
    nodes: list[onnx.NodeProto],
    tensors: list[onnx.TensorProto],
    *,
    output_shape: tuple[int | str, ...] = (1, 3, HEIGHT // STRIDE, WIDTH // STRIDE),
    opset: int = 17,
) -> Path:
    """Write a folder whose card has the classes red, green and blue."""
    image = helper.make_tensor_value_info('image', TensorProto.UINT8, [1, HEIGHT, WIDTH, 3])
    logits = helper.make_tensor_value_info('logits', TensorProto.FLOAT, output_shape)
    graph = helper.make_graph(nodes, 'faulty', [image], [logits], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', opset)], ir_version=9)
    folder.mkdir(parents=True)
    (folder / GRAPH_FILE).write_bytes(model.SerializeToString())
    save_card(folder)
    return folder


def save_card(folder: Path) -> None:
    """Write the card of a folder, with the true hash of whatever graph lies there."""
    card = ModelCard(
        name=folder.name,
        net='mini_unet',
        classes=PRIMARY_CLASSES,
        input=InputSpec(height_px=HEIGHT, width_px=WIDTH, logits_stride=STRIDE),
        files={GRAPH_FILE: ''},
    )
    save_model_card(card, folder)


def _head() -> list[onnx.NodeProto]:
    return [
        helper.make_node('Cast', ['image'], ['float'], to=TensorProto.FLOAT),
        helper.make_node('Transpose', ['float'], ['chw'], perm=[0, 3, 1, 2]),
    ]


def _pool() -> onnx.NodeProto:
    return helper.make_node(
        'AveragePool', ['scaled'], ['logits'], kernel_shape=[STRIDE] * 2, strides=[STRIDE] * 2
    )
