"""A segmentation net of another project, as ONNX, made into a graph of ours.

What is foreign is described by ``ForeignNet``; layout, order of the channels and normalisation go
into the graph, and whatever comes out becomes ``logits``: see ``model_card`` for the contract.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnx.version_converter
from onnx import TensorProto, helper, numpy_helper

from seg_ros.model_files import MAX_FILE_BYTES

OPSETS = (9, 20)  # the oldest has what is added here; the newest is what write_graph writes
IR_VERSIONS = (4, 10)
_PREFIX = 'net.'  # of every name in the foreign graph, so that 'image' and 'logits' are free
_TYPES = {
    TensorProto.FLOAT: 'float32',
    TensorProto.FLOAT16: 'float16',
    TensorProto.DOUBLE: 'float64',
    TensorProto.UINT8: 'uint8',
}
_SAME_VALUES = {'Cast', 'Identity', 'Squeeze', 'Unsqueeze', 'Reshape'}


@dataclass(frozen=True)
class ForeignNet:
    """What a foreign net expects.

    Attributes:
        order: Of its colour channels, ``rgb`` or ``bgr``.
        mean: Per channel in that order; subtracted after the division of ``value_range``.
        std: Per channel in that order.
        value_range: 1 where mean and std are those of pixels scaled to 0..1, 255 where they are
            those of bytes.
        size_hw: Rows and columns of its input; None where the graph tells them.
        layout: ``nchw`` or ``nhwc``; None where the graph tells it.
        input_name: Of the image; needed where there are several inputs.
        output_name: Of the logits or ids; needed where there are several outputs.
    """

    order: str = 'rgb'
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    value_range: int = 1
    size_hw: tuple[int, int] | None = None
    layout: str | None = None
    input_name: str | None = None
    output_name: str | None = None

    def __post_init__(self) -> None:
        for name, allowed in (
            ('order', ('rgb', 'bgr')),
            ('value_range', (1, 255)),
            ('layout', ('nchw', 'nhwc', None)),
        ):
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(f'{name} is {value!r}; allowed are {allowed}')
        if len(self.mean) != 3 or len(self.std) != 3 or not min(self.std) > 0:
            raise ValueError(
                f'mean {self.mean} and std {self.std}: give three values, std above 0'
            )
        if self.value_range == 1 and max(*self.mean, *self.std) > 2:
            raise ValueError(
                f'mean {self.mean} and std {self.std} are those of bytes: say so with a range of '
                '255 (--range 255), or divide them by 255'
            )

    @property
    def mean_rgb(self) -> tuple[float, float, float]:
        """Mean of red, green and blue scaled to 0..1."""
        return self._rgb(self.mean)

    @property
    def std_rgb(self) -> tuple[float, float, float]:
        """Standard deviation of red, green and blue scaled to 0..1."""
        return self._rgb(self.std)

    def _rgb(self, values: tuple[float, float, float]) -> tuple[float, float, float]:
        first, second, third = (value / self.value_range for value in values)
        return (first, second, third) if self.order == 'rgb' else (third, second, first)


@dataclass(frozen=True)
class InputPort:
    """The image input of a foreign graph."""

    name: str
    element_type: int
    layout: str
    size_hw: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the one image that it is given."""
        height, width = self.size_hw
        return (1, 3, height, width) if self.layout == 'nchw' else (1, height, width, 3)

    @property
    def is_float(self) -> bool:
        """Whether it takes normalised pixels; bytes are taken as they are."""
        return self.element_type != TensorProto.UINT8

    def __str__(self) -> str:
        return f'{self.name!r} {_TYPES[self.element_type]} {self.shape}'

    def pixels(self, image_hwc: np.ndarray, net: ForeignNet) -> np.ndarray:
        """Make the input from (h, w, 3) uint8 RGB, as the foreign project would with numpy."""
        image = image_hwc if net.order == 'rgb' else image_hwc[..., ::-1]
        if self.is_float:
            scale = np.float32(255 / net.value_range)
            image = (image / scale - np.array(net.mean, np.float32)) / np.array(
                net.std, np.float32
            )
        if self.layout == 'nchw':
            image = image.transpose(2, 0, 1)
        return np.ascontiguousarray(image[np.newaxis], _TYPES[self.element_type])


def read_foreign(path: Path) -> onnx.ModelProto:
    """Read a graph with all its weights, those in files beside it included.

    Raises:
        FileNotFoundError: If it, or a file with its weights, is missing.
        ValueError: If it is no ONNX graph, too large, or of an unknown opset.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist')
    try:
        model = onnx.load(path)
    except FileNotFoundError:
        raise
    except Exception as error:  # protobuf's and onnx's own share no narrower class
        if 'should be stored in' in str(error) or 'not exist' in str(error):
            raise FileNotFoundError(
                f'{path} keeps its weights in a file that is missing: {error}'
            ) from error
        raise ValueError(f'{path} is no ONNX graph that can be read: {error}') from error
    if not model.graph.node or not model.graph.output:
        raise ValueError(f'{path} is no ONNX graph: it has no nodes or no outputs')
    if model.ByteSize() > MAX_FILE_BYTES:
        raise ValueError(f'{path} has {model.ByteSize()} bytes; allowed are {MAX_FILE_BYTES}')
    return _of_known_version(model, path)


def _of_known_version(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    opset = opset_of(model)
    if opset > OPSETS[1]:
        try:
            model = onnx.version_converter.convert_version(model, OPSETS[1])
        except Exception as error:  # it raises what its C++ part throws
            raise ValueError(
                f'{path} is of opset {opset}, and not every step of it is known to older engines '
                f'({error}); export it with opset {OPSETS[1]} or lower'
            ) from error
    if opset < OPSETS[0]:
        raise ValueError(f'{path} is of opset {opset}; export it with {OPSETS[0]} to {OPSETS[1]}')
    model = onnx.inliner.inline_local_functions(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [port for port in model.graph.input if port.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = min(max(model.ir_version, IR_VERSIONS[0]), IR_VERSIONS[1])
    return model


def opset_of(model: onnx.ModelProto) -> int:
    """Version of ONNX's own operators that a graph uses."""
    return max((e.version for e in model.opset_import if e.domain in ('', 'ai.onnx')), default=1)


def choose_output(model: onnx.ModelProto, name: str | None) -> str:
    """Name of the output with logits or ids; the others and what only they need are removed.

    Raises:
        ValueError: If there are several and none is named, or none of that name.
    """
    names = [port.name for port in model.graph.output]
    listed = ', '.join(map(_described, model.graph.output))
    if name is None and len(names) > 1:
        raise ValueError(f'the graph gives {listed}; name one of them: --output {names[0]}')
    if name is not None and name not in names:
        raise ValueError(f'the graph has no output {name!r}; it gives {listed}')
    chosen = name or names[0]
    port = next(port for port in model.graph.output if port.name == chosen)
    kept = onnx.ValueInfoProto()
    kept.CopyFrom(port)
    del model.graph.output[:]
    model.graph.output.append(kept)
    prune(model.graph)
    return chosen


def prune(graph: onnx.GraphProto) -> None:
    """Remove the nodes, weights and inputs that the outputs do not need."""
    needed = {port.name for port in graph.output}
    nodes = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(_names_read(node))
            nodes.append(node)
    nodes.reverse()
    for field, kept in (
        (graph.node, nodes),
        (graph.initializer, [t for t in graph.initializer if t.name in needed]),
        (graph.input, [p for p in graph.input if p.name in needed]),
    ):
        del field[:]
        field.extend(kept)
    del graph.value_info[:]


def _names_read(node: onnx.NodeProto) -> Iterator[str]:
    yield from node.input
    for inner in _subgraphs(node):
        for child in inner.node:
            yield from _names_read(child)
        yield from (port.name for port in inner.output)


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField('g'):
            yield attribute.g
        yield from attribute.graphs


def choose_input(model: onnx.ModelProto, net: ForeignNet) -> InputPort:
    """Find the image input, its layout and its size, and fix these in the graph.

    Raises:
        ValueError: If it is not one image of three channels, or its size is not known.
    """
    ports = {port.name: port for port in model.graph.input}
    listed = ', '.join(map(_described, ports.values())) or 'nothing'
    name = net.input_name or next(iter(ports), '')
    if name not in ports:
        raise ValueError(f'the graph has no input {name!r}; it takes {listed}')
    if len(ports) > 1:
        raise ValueError(
            f'the output needs {listed}, and the node gives one image; export the graph with the '
            'other inputs as constants, or name an --output that does not need them'
        )
    kind = ports[name].type.tensor_type
    if kind.elem_type not in _TYPES:
        raise ValueError(f'input {listed}; allowed are {", ".join(_TYPES.values())}')
    sizes = [d.dim_value if d.HasField('dim_value') else None for d in kind.shape.dim]
    if len(sizes) != 4 or sizes[0] not in (None, 0, -1, 1):
        raise ValueError(f'input {listed}; it must take one image: (1, 3, H, W) or (1, H, W, 3)')
    layout = _layout(sizes, net.layout, listed)
    height, width = sizes[2:] if layout == 'nchw' else sizes[1:3]
    port = InputPort(name, kind.elem_type, layout, _size((height, width), net.size_hw, listed))
    fixed = helper.make_tensor_value_info(name, kind.elem_type, port.shape)
    ports[name].CopyFrom(fixed)
    model.graph.output[0].type.tensor_type.ClearField('shape')  # may name what is fixed now
    return port


def _layout(sizes: Sequence[int | None], wanted: str | None, listed: str) -> str:
    open_size = (None, 0, -1)
    fitting = [
        layout for layout, axis in (('nchw', 1), ('nhwc', 3)) if sizes[axis] in (3, *open_size)
    ]
    fixed = [layout for layout, axis in (('nchw', 1), ('nhwc', 3)) if sizes[axis] == 3]
    if wanted is not None:
        fitting, fixed = [each for each in fitting if each == wanted], []
    if not fitting:
        raise ValueError(
            f'input {listed}; it must take three colour channels, (1, 3, H, W) or (1, H, W, 3)'
            + (f', and --layout says {wanted}' if wanted else '')
        )
    return (fixed or fitting)[0]


def _size(
    found: tuple[int | None, int | None], wanted: tuple[int, int] | None, listed: str
) -> tuple[int, int]:
    height, width = (size or None for size in found)
    if wanted is None:
        if height is None or width is None or min(height, width) < 0:
            raise ValueError(f'input {listed} is of any size; choose one: --size 480x640')
        return height, width
    for size, chosen in zip((height, width), wanted, strict=True):
        if size is not None and size > 0 and size != chosen:
            raise ValueError(
                f'input {listed} is of a fixed size, and the size asked for is '
                f'{wanted[0]}x{wanted[1]}; export the graph for that size, or leave --size out'
            )
    return wanted


def _described(port: onnx.ValueInfoProto) -> str:
    kind = port.type.tensor_type
    name = TensorProto.DataType.Name(kind.elem_type).lower().replace('float', 'float32')
    name = name.replace('float3216', 'float16')
    sizes = ', '.join(str(d.dim_value or d.dim_param or '?') for d in kind.shape.dim)
    return f'{port.name!r} {name} ({sizes})'


def logits_before_argmax(graph: onnx.GraphProto, output: str) -> str | None:
    """Name of what a graph that ends in ArgMax takes the largest of; None where it does not."""
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(output)
    while node is not None and node.op_type in _SAME_VALUES:
        node = makers.get(node.input[0])
    return str(node.input[0]) if node is not None and node.op_type == 'ArgMax' else None


def rename(graph: onnx.GraphProto) -> None:
    """Put a prefix before every name of a graph and the graphs in it."""
    for node in graph.node:
        node.name = node.name and _PREFIX + node.name
        for names in (node.input, node.output):
            names[:] = [name and _PREFIX + name for name in names]
        for inner in _subgraphs(node):
            rename(inner)
    for field in (graph.input, graph.output, graph.value_info, graph.initializer):
        for entry in field:
            entry.name = _PREFIX + entry.name
    for sparse in graph.sparse_initializer:
        for tensor in (sparse.values, sparse.indices):
            tensor.name = _PREFIX + tensor.name


class Steps:
    """Nodes that are added to a graph, one behind the other."""

    def __init__(self, prefix: str, start: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.last = start
        self._prefix = prefix

    def add(self, kind: str, *constants: np.ndarray, **attributes: object) -> str:
        """Append an operator that takes what came last, and constants."""
        names = [self.last, *(self.constant(value) for value in constants)]
        return self.join(kind, names, **attributes)

    def join(self, kind: str, names: list[str], **attributes: object) -> str:
        """Append an operator that takes tensors by name."""
        self.last = f'{self._prefix}.{len(self.nodes)}'
        self.nodes.append(helper.make_node(kind, names, [self.last], self.last, **attributes))
        return self.last

    def constant(self, value: np.ndarray) -> str:
        """Store a constant; returns its name."""
        name = f'{self._prefix}.constant.{len(self.constants)}'
        self.constants.append(numpy_helper.from_array(value, name))
        return name


def input_steps(port: InputPort, net: ForeignNet) -> Steps:
    """From ``image`` to the foreign input."""
    steps = Steps('input', 'image')
    if net.order == 'bgr':
        steps.add('Gather', np.array([2, 1, 0], np.int64), axis=3)
    if port.is_float:
        steps.add('Cast', to=TensorProto.FLOAT)
    if port.layout == 'nchw':
        steps.add('Transpose', perm=[0, 3, 1, 2])
    if port.is_float:
        shape = (1, 3, 1, 1) if port.layout == 'nchw' else (1, 1, 1, 3)
        scale = 255 / net.value_range  # mean and std in units of bytes
        mean, std = (
            (scale * np.array(each).reshape(shape)).astype(np.float32)
            for each in (net.mean, net.std)
        )
        if mean.any():
            steps.add('Sub', mean)
        steps.add('Div', std)
    if port.element_type in (TensorProto.FLOAT16, TensorProto.DOUBLE):
        steps.add('Cast', to=port.element_type)
    steps.join('Identity', [steps.last])
    steps.nodes[-1].output[0] = _PREFIX + port.name
    return steps
