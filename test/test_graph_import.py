"""Graphs of other projects, written here node by node, become models that answer right."""

from __future__ import annotations

import importlib
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import seg_ros
from seg_ros.backends import load_backend
from seg_ros.cli import main
from seg_ros.foreign_graph import ForeignNet
from seg_ros.graph_import import ForeignGraph
from seg_ros.model_card import ClassInfo, load_model_card
from test.conftest import PRIMARY_CLASSES, stripes

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
PLAIN = {'mean': (0.0, 0.0, 0.0), 'std': (1.0, 1.0, 1.0)}  # the logits are 0..1 then
HEIGHT, WIDTH = 48, 64
ENGINES = ('onnxruntime', 'openvino')


def foreign(
    path: Path,
    tail=(),
    *,
    layout='nchw',
    kind=FLOAT,
    size=(HEIGHT, WIDTH),
    out=('odd/name:0', FLOAT, None),
    opset=17,
    names=('input.1', 'odd/name:0'),
    weights=(),
    external=False,
) -> Path:
    """Write a graph that gives the channels of its input, after the operators of ``tail``.

    Each of ``tail`` is (operator, further inputs, attributes) and takes what came before it.
    """
    taken, given = names
    shape = (1, 3, *size) if layout == 'nchw' else (1, *size, 3)
    steps = [('Cast', (), {'to': FLOAT})] if kind != FLOAT else []
    # A kernel that changes nothing: something to keep in a file of its own.
    scale = numpy_helper.from_array(np.full((1, 1, 1, 1), 10.0, np.float32), 'scale')
    steps = [*steps, ('Mul', ('scale',), {}), *tail]
    nodes, last = [], taken
    for index, (operator, further, attributes) in enumerate(steps):
        new = given if index == len(steps) - 1 else f'image{index or ""}'
        nodes.append(helper.make_node(operator, [last, *further], [new], **attributes))
        last = new
    graph = helper.make_graph(
        nodes,
        'foreign',
        [helper.make_tensor_value_info(taken, kind, shape)],
        [helper.make_tensor_value_info(given, out[1], out[2])],
        [scale, *weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', opset)])
    model.ir_version = 8
    if external:
        onnx.save(
            model,
            path,
            save_as_external_data=True,
            location='weights.bin',
            size_threshold=0,
            convert_attribute=False,
        )
    else:
        onnx.save(model, path)
    return path


def ids_of(folder: Path, engine: str, image: np.ndarray) -> np.ndarray:
    return seg_ros.load(folder, backend=engine).segment(image, 'rgb').labels


def imported(path: Path, tmp_path: Path, classes=PRIMARY_CLASSES, **net):
    graph = ForeignGraph(path, ForeignNet(**{**PLAIN, **net}))
    image, _ = stripes(*graph.port.size_hw)
    return graph.write(tmp_path / 'model', classes, [image])


POOL = ('AveragePool', (), {'kernel_shape': [8, 8], 'strides': [8, 8]})
SOFTMAX = ('Softmax', (), {'axis': 1})
TO_NHWC = ('Transpose', (), {'perm': [0, 2, 3, 1]})
ARGMAX = ('ArgMax', (), {'axis': 1, 'keepdims': 0})
DYNAMIC = ('height', 'width')
INT64_IDS = ('ids', INT64, None)
# An ArgMax that is no longer the end: the ids are all there is.
HIDDEN = [ARGMAX, ('Add', ('zero',), {})]
ZERO = numpy_helper.from_array(np.array(0, np.int64), 'zero')


@pytest.mark.parametrize(
    ('graph', 'net', 'kind', 'stride'),
    [
        ({}, {}, 'logits', 1),
        ({'tail': [POOL]}, {}, 'logits', 8),
        ({'tail': [SOFTMAX]}, {}, 'probabilities', 1),
        ({'tail': [TO_NHWC]}, {}, 'logits', 1),
        ({'layout': 'nhwc'}, {}, 'logits', 1),
        ({'layout': 'nhwc', 'kind': TensorProto.UINT8}, {}, 'logits', 1),
        ({'kind': TensorProto.UINT8}, {}, 'logits', 1),
        ({'kind': TensorProto.FLOAT16}, {}, 'logits', 1),
        ({'size': DYNAMIC}, {'size_hw': (HEIGHT, WIDTH)}, 'logits', 1),
        ({'names': ('image', 'logits')}, {}, 'logits', 1),
        ({'names': ('logits', 'image')}, {}, 'logits', 1),
        ({'opset': 11}, {}, 'logits', 1),
        ({'tail': [ARGMAX], 'out': INT64_IDS}, {}, 'logits', 1),
        ({'tail': HIDDEN, 'out': INT64_IDS, 'weights': [ZERO]}, {}, 'ids', 1),
        ({'tail': [POOL, *HIDDEN], 'out': INT64_IDS, 'weights': [ZERO]}, {}, 'ids', 8),
        ({'external': True}, {}, 'logits', 1),
    ],
)
def test_every_form_of_graph_answers_right_in_both_engines(tmp_path, graph, net, kind, stride):
    path = foreign(tmp_path / 'net.onnx', **graph)
    card, output, parity = imported(path, tmp_path, **net)
    assert output.kind == kind
    assert card.input.logits_stride == stride
    assert set(parity) == set(ENGINES)
    image, labels = stripes(HEIGHT, WIDTH)
    for engine in ENGINES:
        found = ids_of(tmp_path / 'model', engine, image)
        assert (found == labels).mean() > (0.99 if stride == 1 else 0.9)
    assert not list(tmp_path.glob('model/*.bin'))


def test_the_normalisation_and_the_order_of_the_channels_are_in_the_graph(tmp_path):
    path = foreign(tmp_path / 'net.onnx')
    mean, std = (103.5, 116.3, 123.7), (57.4, 57.1, 58.4)
    card, _, _ = imported(path, tmp_path, mean=mean, std=std, value_range=255, order='bgr')
    assert card.input.mean == pytest.approx([each / 255 for each in mean[::-1]])
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    expected = 10 * (image[..., ::-1].astype(np.float64) - mean) / std
    for engine in ENGINES:
        logits = load_backend(engine, load_model_card(tmp_path / 'model')).infer(image)
        np.testing.assert_allclose(logits.transpose(1, 2, 0), expected, rtol=1e-4, atol=1e-3)


def test_probabilities_come_back_as_the_confidence(tmp_path):
    path = foreign(tmp_path / 'net.onnx', [SOFTMAX])
    imported(path, tmp_path)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 1] = 25  # a logit of about 1 beside two of 0
    found = seg_ros.load(tmp_path / 'model').segment(image, 'rgb')
    e = np.exp(250 / 255)
    assert np.unique(found.labels).tolist() == [1]
    assert found.confidence == pytest.approx(255 * e / (e + 2), abs=1.5)


@pytest.mark.parametrize('is_probability', [True, False])
def test_one_channel_is_the_second_of_two_classes(tmp_path, is_probability):
    red = ('Gather', ('first',), {'axis': 1})
    first = numpy_helper.from_array(np.array([0], np.int64), 'first')
    half = numpy_helper.from_array(np.array(4.0, np.float32), 'half')
    tail = [red, ('Sub', ('half',), {}), *([('Sigmoid', (), {})] if is_probability else [])]
    path = foreign(tmp_path / 'net.onnx', tail, weights=[first, half])
    classes = (ClassInfo(0, 'other', (0, 0, 0)), ClassInfo(5, 'red', (255, 0, 0)))
    _, output, _ = imported(path, tmp_path, classes)
    assert output.is_binary
    image, labels = stripes(HEIGHT, WIDTH)
    for engine in ENGINES:
        found = ids_of(tmp_path / 'model', engine, image)
        np.testing.assert_array_equal(found, np.where(labels == 0, 5, 0))


def two_outputs(path: Path) -> Path:
    model = onnx.load(foreign(path))
    model.graph.node.append(helper.make_node('Sqrt', ['odd/name:0'], ['aux']))
    model.graph.output.append(helper.make_tensor_value_info('aux', FLOAT, None))
    onnx.save(model, path)
    return path


def test_more_classes_than_an_argmax_takes_the_largest_of_are_refused(tmp_path):
    path = foreign(tmp_path / 'net.onnx', [ARGMAX], out=INT64_IDS)
    classes = (*PRIMARY_CLASSES, ClassInfo(3, 'white', (255, 255, 255)))
    with pytest.raises(ValueError, match=r'\(1, 3, 48, 64\), and the classes are 4'):
        imported(path, tmp_path, classes)


def test_of_several_outputs_one_is_named(tmp_path):
    path = two_outputs(tmp_path / 'net.onnx')
    with pytest.raises(ValueError, match=r"'odd/name:0'.*'aux'.*name one of them: --output"):
        imported(path, tmp_path)
    with pytest.raises(ValueError, match="no output 'other'; it gives 'odd/name:0'"):
        imported(path, tmp_path, output_name='other')
    imported(path, tmp_path, output_name='odd/name:0')
    assert (tmp_path / 'model').is_dir()


def test_an_input_that_the_output_does_not_need_is_left_out(tmp_path):
    model = onnx.load(two_outputs(tmp_path / 'net.onnx'))
    model.graph.input.append(helper.make_tensor_value_info('flag', FLOAT, [1]))
    model.graph.node.append(helper.make_node('Add', ['aux', 'flag'], ['flagged']))
    model.graph.output.append(helper.make_tensor_value_info('flagged', FLOAT, None))
    onnx.save(model, tmp_path / 'net.onnx')
    with pytest.raises(ValueError, match=r"needs 'input.1'.*'flag'.*one image"):
        imported(tmp_path / 'net.onnx', tmp_path, output_name='flagged')
    imported(tmp_path / 'net.onnx', tmp_path, output_name='odd/name:0')


FOUR = numpy_helper.from_array(np.array([0, 1, 2, 0], np.int64), 'four')


@pytest.mark.parametrize(
    ('graph', 'net', 'message'),
    [
        ({'size': DYNAMIC}, {}, r'of any size; choose one: --size 480x640'),
        ({}, {'size_hw': (96, 96)}, r'fixed size.*96x96.*leave --size out'),
        ({}, {'layout': 'nhwc'}, r'three colour channels.*--layout says nhwc'),
        ({}, {'input_name': 'x'}, r"no input 'x'; it takes 'input.1' float32 \(1, 3, 48, 64\)"),
        ({'kind': INT64}, {}, 'int64.*allowed are float32'),
        (
            {'tail': [('Gather', ('four',), {'axis': 1})], 'weights': [FOUR]},
            {},
            r'\(1, 4, 48, 64\), and the classes are 3: list one class for each channel',
        ),
        ({'tail': [('ReduceMean', (), {'keepdims': 0})]}, {}, 'must be logits, probabilities or'),
        (
            {'tail': [*HIDDEN, ('Add', ('one',), {})], 'out': INT64_IDS,
             'weights': [ZERO, numpy_helper.from_array(np.array(1, np.int64), 'one')]},
            {},
            'gives the id 3, and the classes are 3',
        ),
        ({}, {'mean': (123.0, 117.0, 104.0)}, 'those of bytes: say so'),
        (
            {'size': DYNAMIC, 'tail': [('Reshape', ('fixed',), {})],
             'weights': [numpy_helper.from_array(np.array([1, 3, 32, 32], np.int64), 'fixed')]},
            {'size_hw': (HEIGHT, WIDTH)},
            'does not run on an image of 48x64.*choose another --size',
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_the_cure(tmp_path, graph, net, message):
    path = foreign(tmp_path / 'net.onnx', **graph)
    with pytest.raises(ValueError, match=message):
        imported(path, tmp_path, **net)
    assert not (tmp_path / 'model').exists()
    assert not list(tmp_path.glob('.model*'))


@pytest.mark.parametrize('content', [b'', b'no graph', b'\x08\x07'])
def test_what_is_no_graph_is_refused(tmp_path, content):
    (tmp_path / 'net.onnx').write_bytes(content)
    with pytest.raises(ValueError, match=r'net.onnx is no ONNX graph'):
        imported(tmp_path / 'net.onnx', tmp_path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'gone.onnx does not exist'):
        imported(tmp_path / 'gone.onnx', tmp_path)
    path = foreign(tmp_path / 'net.onnx', external=True)
    (tmp_path / 'weights.bin').unlink()
    with pytest.raises(FileNotFoundError, match=r'weights.bin'):
        imported(path, tmp_path)


@pytest.fixture
def classes_file(tmp_path):
    lines = [f'- {{id: {c.id}, name: {c.name}, color: {list(c.color)}}}' for c in PRIMARY_CLASSES]
    path = tmp_path / 'classes.yaml'
    path.write_text('\n'.join(['classes:', *lines]))
    return path


def test_the_command_says_what_it_took_the_graph_for(tmp_path, classes_file, capsys, monkeypatch):
    path = foreign(tmp_path / 'my_net.onnx', [SOFTMAX])
    image, _ = stripes(HEIGHT, WIDTH)
    (tmp_path / 'photos').mkdir()
    cv2.imwrite(str(tmp_path / 'photos' / 'a.png'), image[..., ::-1])
    monkeypatch.chdir(tmp_path)
    command = ['import', str(path), '--classes', str(classes_file), '--images', 'photos']
    assert main([*command, '--mean', '0', '0', '0', '--std', '1', '1', '1']) == 0
    printed = capsys.readouterr().out
    assert "input  'input.1' float32 (1, 3, 48, 64): rgb, mean (0.0, 0.0, 0.0)" in printed
    assert "output 'odd/name:0': probabilities (nchw, 48x64)" in printed
    assert 'openvino     labels equal on 100.000 %' in printed
    assert f'model:={tmp_path}/models/my_net' in printed
    assert main(command) == 2
    assert 'models/my_net exists' in capsys.readouterr().err


def test_without_photos_frames_of_the_demo_are_taken(tmp_path, classes_file, capsys):
    path = foreign(tmp_path / 'net.onnx')
    out = tmp_path / 'made'
    assert main(['import', str(path), '--classes', str(classes_file), '--out', str(out)]) == 0
    assert 'checked on 4 images of robocup_scenes' in capsys.readouterr().out


@pytest.mark.slow
def test_an_imported_model_is_evaluated_and_quantised_as_any(tmp_path, capsys):
    pytest.importorskip('nncf')
    kernel = numpy_helper.from_array(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), 'kernel')
    path = foreign(tmp_path / 'net.onnx', [('Conv', ('kernel',), {})], weights=[kernel])
    imported(path, tmp_path)
    for folder in ('images', 'labels'):
        (tmp_path / 'data' / folder).mkdir(parents=True)
    lines = [f'- {{id: {c.id}, name: {c.name}, color: {list(c.color)}}}' for c in PRIMARY_CLASSES]
    (tmp_path / 'data' / 'classes.yaml').write_text('\n'.join(['classes:', *lines]))
    noise = np.random.default_rng(0)
    for index in range(4):
        image, labels = stripes(HEIGHT, WIDTH)
        image = np.clip(image + noise.integers(0, 20, image.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(tmp_path / 'data' / 'images' / f'{index}.png'), image[..., ::-1])
        cv2.imwrite(str(tmp_path / 'data' / 'labels' / f'{index}.png'), labels)
    data = ['--dataset', 'folder', '--root', str(tmp_path / 'data'), '--split', 'all']
    model = ['--model', str(tmp_path / 'model')]
    assert main(['evaluate', *model, *data]) == 0
    assert 'mIoU             1.0000' in capsys.readouterr().out
    photos = str(tmp_path / 'data' / 'images')
    assert main(['quantize', *model, '--calibration', photos, *data]) == 0
    assert load_model_card(tmp_path / 'model').variants['int8'].score > 0.99


def test_the_torch_engine_says_that_such_a_model_has_no_torch_weights(tmp_path):
    pytest.importorskip('torch')
    imported(foreign(tmp_path / 'net.onnx'), tmp_path)
    with pytest.raises(FileNotFoundError, match=r"model 'model' has no weights.safetensors"):
        seg_ros.load(tmp_path / 'model', backend='torch')


def test_the_facade_knows_export_and_nothing_unknown():
    module = importlib.import_module('seg_ros')
    assert 'export' in module.__all__
    with pytest.raises(AttributeError, match='no attribute'):
        _ = module.exports
