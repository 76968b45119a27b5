"""Model folders whose card, graph or weights are damaged or hostile."""

from __future__ import annotations

import pickle
import shutil
import struct
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from seg_ros.model_card import (
    CARD_FILE,
    GRAPH_FILE,
    WEIGHTS_FILE,
    read_model_card,
    save_model_card,
)
from seg_ros.model_files import sha256_of
from seg_ros.segmenter import load
from test.conftest import stripes, write_primary_model
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
        hidden = draw_cases(
            Tally(f'external data in odd protobuf, {backend}'),
            st.tuples(st.integers(0, 8), st.integers(1, 2)),
            cases // 4,
            lambda case: _load_hidden(loader, folder / 'hidden', *case),
        )
    live = fuzz_live_folder(folder / 'exchanged', cases // 2, backend)
    return [cards, graphs, hidden, live]


def _load_hidden(loader: ModelLoader, folder: Path, padding: int, parts: int) -> str:
    try:
        loader.load(write_hidden_external_data(folder, padding, parts))
    finally:
        shutil.rmtree(folder)
    return 'weights that the card does not vouch for were used'


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


def external_tensor(location: str = 'weights.bin') -> onnx.TensorProto:
    """The kernel of ``primary_nodes``, which lies in a file that no card lists."""
    tensor = TensorProto(name='kernel', data_type=TensorProto.FLOAT, dims=(3, 3, 1, 1))
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (('location', location), ('length', str(4 * 9))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def with_weights_beside(folder: Path) -> Path:
    """Write the file that ``external_tensor`` names."""
    (folder / 'weights.bin').write_bytes(np.ones(9, np.float32).tobytes())
    return folder


def write_address_in_memory(folder: Path) -> Path:
    """A graph whose weights are whatever lies at an address of the process."""
    tensor = external_tensor('*/_ORT_MEM_ADDR_/*')
    tensor.external_data.add(key='offset', value='4096')
    return write_model(folder, primary_nodes(), [tensor])


def write_external_constant(folder: Path) -> Path:
    """External data in a constant, not among the weights of the graph."""
    constant = helper.make_node('Constant', [], ['kernel'], value=external_tensor())
    return with_weights_beside(write_model(folder, [constant, *primary_nodes()], []))


def write_external_branch(folder: Path) -> Path:
    """External data in a graph within the graph."""
    result = helper.make_tensor_value_info('kernel', TensorProto.FLOAT, [3, 3, 1, 1])
    branch = helper.make_graph([], 'branch', [], [result], [external_tensor()])
    choice = helper.make_node('If', ['yes'], ['chosen'], then_branch=branch, else_branch=branch)
    nodes = [choice, *primary_nodes()]
    nodes[3].input[1] = 'chosen'
    yes = numpy_helper.from_array(np.array(True), 'yes')
    return with_weights_beside(write_model(folder, nodes, [yes]))


def write_hidden_external_data(folder: Path, padding: int = 1, parts: int = 1) -> Path:
    """External data whose lengths are written in more bytes than they need.

    Args:
        folder: Of the model.
        padding: Bytes that every length has too many.
        parts: Pieces in which the graph comes; a reader of protobuf puts them together.
    """

    def field(number: int, content: bytes) -> bytes:
        length = len(content)
        digits = [
            length >> 7 * index & 0x7F for index in range(max(1, -(-length.bit_length() // 7)))
        ]
        digits += [0] * padding
        coded = bytes([digit | 0x80 for digit in digits[:-1]] + digits[-1:])
        return bytes([number << 3 | 2]) + coded + content

    tensor = external_tensor()
    entries = [
        field(13, field(1, entry.key.encode()) + field(2, entry.value.encode()))
        for entry in tensor.external_data
    ]
    del tensor.external_data[:]
    hidden = field(5, tensor.SerializeToString() + b''.join(entries))
    path = write_model(folder, primary_nodes(), [kernel()])
    model = onnx.load_from_string((path / GRAPH_FILE).read_bytes())
    del model.graph.initializer[:]
    pieces = [hidden, model.graph.SerializeToString()]
    model.ClearField('graph')
    graphs = pieces if parts > 1 else [b''.join(pieces)]
    data = model.SerializeToString() + b''.join(field(7, piece) for piece in graphs)
    (path / GRAPH_FILE).write_bytes(data)
    save_card(path)
    return with_weights_beside(path)


def write_reversed_model(folder: Path) -> Path:
    """The primary model with its channels and its classes in the other order."""
    swapped = np.eye(3, dtype=np.float32)[::-1].reshape(3, 3, 1, 1) * (10 / 255)
    path = write_model(folder, primary_nodes(), [numpy_helper.from_array(swapped, 'kernel')])
    card = read_model_card(path)
    names = [replace(entry, id=2 - entry.id) for entry in reversed(card.classes)]
    save_model_card(replace(card, name='primary', classes=tuple(names)), path)
    return path


def fuzz_live_folder(folder: Path, cases: int, backend: str) -> Tally:
    """Load a folder whose files are exchanged meanwhile: card and graph must be of one model."""
    models = [write_primary_model(folder / 'primary'), write_reversed_model(folder / 'reversed')]
    live = Path(shutil.copytree(models[0], folder / 'live'))
    stop = threading.Event()

    def exchange() -> None:
        rng = np.random.default_rng(0)
        while not stop.is_set():
            names = [GRAPH_FILE, CARD_FILE]
            rng.shuffle(names)
            for name in names:
                shutil.copyfile(models[rng.integers(2)] / name, folder / 'next')
                (folder / 'next').replace(live / name)
                stop.wait(rng.exponential(0.002))

    image, truth = stripes()
    tally = Tally(f'a folder that is exchanged meanwhile, {backend}')
    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        return draw_cases(
            tally, st.integers(), cases, lambda _: _check_live(live, backend, image, truth)
        )
    finally:
        stop.set()
        thread.join()


def _check_live(live: Path, backend: str, image: np.ndarray, truth: np.ndarray) -> str | None:
    segmenter = load(live, backend=backend, num_threads=1)
    labels = segmenter.segment(image, 'rgb').labels
    names = np.array([entry.name for entry in segmenter.card.classes])
    expected = np.array(['red', 'green', 'blue'])
    if (names[labels] == expected[truth]).mean() > 0.9:
        return None
    return 'classes of one model and the graph of another'


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
    'external data in a constant': write_external_constant,
    'external data in a branch': write_external_branch,
    'external data behind long numbers': write_hidden_external_data,
    'external data in two pieces': lambda folder: write_hidden_external_data(folder, 0, 2),
    'an address in memory': write_address_in_memory,
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
