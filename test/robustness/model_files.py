"""Model folders whose card, graph or weights are damaged or hostile."""

from __future__ import annotations

import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from seg_ros.model_card import CARD_FILE, GRAPH_FILE, WEIGHTS_FILE, sha256_of
from test.conftest import write_primary_model
from test.robustness.bag_files import odd_yaml
from test.robustness.faulty_models import HEIGHT, STRIDE, WIDTH, save_card, write_model
from test.robustness.model_loader import ModelLoader
from test.robustness.strategies import damaged
from test.robustness.tally import Tally, draw_cases

HOSTILE_CARDS = (
    '',
    '\0',
    '- a list',
    '!!python/object/apply:os.system ["false"]',
    '!!python/object/new:type {args: [x, [], {}]}',
    'a: &a [x, x]\nb: [*a, *a]',
    '[' * 100_000,
    '{a: ' * 50_000,
    ''.join(' ' * depth + 'a:\n' for depth in range(1000)),
    '#' * (1 << 21),
    'classes: [' + '{id: 1, name: a, color: [0, 0, 0]}, ' * 20_000 + ']',
)


def fuzz_model_files(folder: Path, cases: int, backend: str) -> list[Tally]:
    """Load damaged folders; each must run as its card says or be refused with a reason."""
    whole = write_primary_model(folder / 'whole')
    text = (whole / CARD_FILE).read_text(encoding='utf-8')
    graph = (whole / GRAPH_FILE).read_bytes()
    copied = folder / 'changed'
    with ModelLoader(backend) as loader:

        def load_changed(name: str, data: bytes, *, correct_hash: bool = False) -> None:
            shutil.copytree(whole, copied)
            try:
                (copied / name).write_bytes(data)
                if correct_hash:
                    correct_hashes(copied)
                loader.load(copied)
            finally:
                shutil.rmtree(copied)

        cards = draw_cases(
            Tally(f'model.yaml, {backend}'),
            st.one_of(odd_yaml(text), odd_yaml(text), st.sampled_from(HOSTILE_CARDS)),
            cases,
            lambda card: load_changed(CARD_FILE, card.encode()),
        )
        graphs = draw_cases(
            Tally(f'model.onnx, {backend}'),
            st.tuples(damaged(graph), st.sampled_from([True, True, True, False])),
            cases,
            lambda case: load_changed(GRAPH_FILE, case[0], correct_hash=case[1]),
        )
    return [cards, graphs]


def correct_hashes(folder: Path) -> None:
    """Let the card vouch for the files as they are now, as whoever changed them would."""
    path = folder / CARD_FILE
    raw = yaml.safe_load(path.read_text(encoding='utf-8'))
    raw['files'] = {name: sha256_of(folder / name) for name in raw['files']}
    path.write_text(yaml.safe_dump(raw), encoding='utf-8')


def primary_nodes() -> list[Any]:
    """The graph of the primary model with another number of classes."""
    return [
        helper.make_node('Cast', ['image'], ['float'], to=TensorProto.FLOAT),
        helper.make_node('Transpose', ['float'], ['chw'], perm=[0, 3, 1, 2]),
        helper.make_node('Conv', ['chw', 'kernel'], ['scaled']),
        helper.make_node(
            'AveragePool', ['scaled'], ['logits'], kernel_shape=[STRIDE] * 2, strides=[STRIDE] * 2
        ),
    ]


def kernel(channels: int = 3) -> onnx.TensorProto:
    """Weights of ``primary_nodes``."""
    return numpy_helper.from_array(np.ones((channels, 3, 1, 1), np.float32) / 255, 'kernel')


def write_wrong_class_count(folder: Path, channels: int) -> Path:
    shape = (1, channels, HEIGHT // STRIDE, WIDTH // STRIDE)
    return write_model(folder, primary_nodes(), [kernel(channels)], output_shape=shape)


def write_dynamic_output(folder: Path) -> Path:
    """A graph whose declared output tells nothing and which gives five classes."""
    shape = (1, 'classes', 'rows', 'columns')
    return write_model(folder, primary_nodes(), [kernel(5)], output_shape=shape)


def write_wrong_output_size(folder: Path) -> Path:
    nodes = [*primary_nodes()[:3], helper.make_node('Identity', ['scaled'], ['logits'])]
    return write_model(folder, nodes, [kernel()], output_shape=(1, 3, HEIGHT, WIDTH))


def write_other_output_name(folder: Path) -> Path:
    path = write_model(folder, primary_nodes(), [kernel()])
    model = onnx.load(path / GRAPH_FILE)
    model.graph.output[0].name = model.graph.node[-1].output[0] = 'scores'
    (path / GRAPH_FILE).write_bytes(model.SerializeToString())
    save_card(path)
    return path


def write_other_output_type(folder: Path) -> Path:
    nodes = primary_nodes()
    nodes[-1].output[0] = 'float_logits'
    nodes.append(helper.make_node('Cast', ['float_logits'], ['logits'], to=TensorProto.DOUBLE))
    path = write_model(folder, nodes, [kernel()])
    model = onnx.load(path / GRAPH_FILE)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    (path / GRAPH_FILE).write_bytes(model.SerializeToString())
    save_card(path)
    return path


def write_other_input_size(folder: Path) -> Path:
    path = write_model(folder, primary_nodes(), [kernel()])
    model = onnx.load(path / GRAPH_FILE)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = HEIGHT * 2
    (path / GRAPH_FILE).write_bytes(model.SerializeToString())
    save_card(path)
    return path


def write_external_data(folder: Path) -> Path:
    """A graph whose weights lie in a file beside the folder, outside of what is hashed."""
    outside = np.ones((3, 3, 1, 1), np.float32)
    folder.parent.mkdir(parents=True, exist_ok=True)
    (folder.parent / 'secret.bin').write_bytes(outside.tobytes())
    tensor = TensorProto(name='kernel', data_type=TensorProto.FLOAT, dims=outside.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (('location', '../secret.bin'), ('length', str(outside.nbytes))):
        tensor.external_data.add(key=key, value=value)
    return write_model(folder, primary_nodes(), [tensor])


def write_external_data_inside(folder: Path) -> Path:
    """A graph whose weights lie beside it, in a file that the card does not vouch for."""
    path = write_external_data(folder)
    (path.parent / 'secret.bin').rename(path / 'weights.bin')
    data = (path / GRAPH_FILE).read_bytes()
    model = onnx.load_from_string(data)
    model.graph.initializer[0].external_data[0].value = 'weights.bin'
    (path / GRAPH_FILE).write_bytes(model.SerializeToString())
    save_card(path)
    return path


def write_huge_constant(folder: Path) -> Path:
    """A graph that asks for a tensor of 4 TB."""
    size = numpy_helper.from_array(np.array([1 << 20, 1 << 20], np.int64), 'size')
    nodes = [
        helper.make_node('ConstantOfShape', ['size'], ['huge']),
        helper.make_node('ReduceSum', ['huge'], ['sum'], keepdims=0),
        *primary_nodes()[:3],
        helper.make_node('Add', ['scaled', 'sum'], ['more']),
        helper.make_node(
            'AveragePool', ['more'], ['logits'], kernel_shape=[STRIDE] * 2, strides=[STRIDE] * 2
        ),
    ]
    return write_model(folder, nodes, [size, kernel()])


HOSTILE_GRAPHS = {
    'more classes': lambda folder: write_wrong_class_count(folder, 4),
    'fewer classes': lambda folder: write_wrong_class_count(folder, 2),
    'dynamic output': write_dynamic_output,
    'other output size': write_wrong_output_size,
    'other output name': write_other_output_name,
    'other output type': write_other_output_type,
    'other input size': write_other_input_size,
    'external data outside': write_external_data,
    'external data inside': write_external_data_inside,
    'constant of 4 TB': write_huge_constant,
}


class Payload:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def hostile_weights(mark: Path, scratch: Path) -> dict[str, bytes]:
    """Contents that ``weights.safetensors`` must not have."""
    good = scratch / 'good.safetensors'
    save_file({'w': np.zeros(4, np.float32)}, good)
    header = b'{"w":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    return {
        'pickle': pickle.dumps(Payload(mark)),
        'pickle behind a header': struct.pack('<Q', 2) + b'{}' + pickle.dumps(Payload(mark)),
        'cut': good.read_bytes()[:-3],
        'empty': b'',
        'header of 2**63 bytes': struct.pack('<Q', 2**63) + b'{}',
        'tensor of 4 TB': struct.pack('<Q', len(header)) + header,
        'header of nested brackets': struct.pack('<Q', 200_000) + b'[' * 200_000,
        "another net's": good.read_bytes(),
    }


def write_weights(folder: Path, data: bytes) -> Path:
    """A folder with the given weights, for which its card vouches."""
    path = write_primary_model(folder)
    (path / WEIGHTS_FILE).write_bytes(data)
    card = path / CARD_FILE
    raw = yaml.safe_load(card.read_text(encoding='utf-8'))
    raw['files'][WEIGHTS_FILE] = sha256_of(path / WEIGHTS_FILE)
    card.write_text(yaml.safe_dump(raw), encoding='utf-8')
    return path
