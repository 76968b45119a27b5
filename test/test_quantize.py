from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

import seg_ros
from seg_ros import cli
from seg_ros.evaluation.frames import Frame
from seg_ros.image import CameraImage
from seg_ros.model_card import GRAPH_FILE, INT8_GRAPH_FILE, load_model_card
from test.conftest import write_primary_model
from test.nets.images import scene
from test.test_shipped_models import assert_old_engines_read

onnx = pytest.importorskip('onnx')
if importlib.util.find_spec('nncf') is None:
    pytest.skip("nncf is not installed: pip install 'seg_ros[quantize]'", allow_module_level=True)

from seg_ros.quantize import (  # noqa: E402
    LABEL_AGREEMENT,
    MEAN_IOU,
    Validation,
    quantize_model,
)

SIZE = (48, 64)
IMAGES = [scene(*SIZE, seed=seed) for seed in range(6)]
CHANNELS = (3, 16, 16, 3)


def write_convolutions(folder, *, outlier=1.0):
    """A model of three convolutions with random kernels and logits of a quarter of the size.

    Channel 0 after the first one is ``outlier`` times as large and is divided by it again in the
    second one: no change in fp32, and the other channels drown in 8 bits.
    """
    from onnx import TensorProto, helper, numpy_helper

    write_primary_model(folder, height=SIZE[0], width=SIZE[1])
    rng = np.random.default_rng(0)
    kernels = [
        rng.normal(0, (2 / (9 * fan_in)) ** 0.5, (fan_out, fan_in, 3, 3)).astype(np.float32)
        for fan_in, fan_out in itertools.pairwise(CHANNELS)
    ]
    kernels[0][0] *= outlier
    kernels[1][:, 0] /= outlier
    nodes = [
        helper.make_node('Cast', ['image'], ['float'], to=TensorProto.FLOAT),
        helper.make_node('Transpose', ['float'], ['chw'], perm=[0, 3, 1, 2]),
        helper.make_node('Sub', ['chw', 'mean'], ['centred']),
        helper.make_node('Div', ['centred', 'std'], ['map0']),
    ]
    for i, strides in enumerate(([2, 2], [2, 2], [1, 1])):
        last = i == len(kernels) - 1
        result = 'logits' if last else f'conv{i}'
        nodes.append(
            helper.make_node(
                'Conv', [f'map{i}', f'kernel{i}'], [result], pads=[1] * 4, strides=strides
            )
        )
        if not last:
            nodes.append(helper.make_node('Relu', [result], [f'map{i + 1}']))
    tensors = [numpy_helper.from_array(kernel, f'kernel{i}') for i, kernel in enumerate(kernels)]
    tensors += [
        numpy_helper.from_array(np.full((1, 3, 1, 1), value, np.float32), name)
        for name, value in (('mean', 110), ('std', 60))
    ]
    old = onnx.load(folder / GRAPH_FILE).graph
    graph = helper.make_graph(nodes, 'convolutions', old.input, old.output, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)
    card = load_model_card(folder)
    (folder / GRAPH_FILE).write_bytes(model.SerializeToString())
    seg_ros.model_card.save_model_card(card, folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_convolutions(tmp_path / 'convolutions')


def frames(truths=None):
    truths = truths or [None] * len(IMAGES)
    return [
        Frame(str(i), CameraImage(image, 'rgb'), truth, float(i))
        for i, (image, truth) in enumerate(zip(IMAGES, truths, strict=True))
    ]


def quantize(folder, allowed_loss_points, validation=None, max_minutes=30):
    return quantize_model(
        load_model_card(folder),
        IMAGES[:4],
        validation or Validation(frames(), LABEL_AGREEMENT, 'six scenes'),
        calibrated_on='four scenes',
        allowed_loss_points=allowed_loss_points,
        max_minutes=max_minutes,
    )


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def int8_kernels(folder):
    return sum(
        each.data_type == onnx.TensorProto.INT8 and len(each.dims) == 4
        for each in onnx.load(folder / INT8_GRAPH_FILE).graph.initializer
    )


def test_both_engines_run_the_variant_and_the_card_says_what_it_costs(folder):
    variant = quantize(folder, 5)
    card = load_model_card(folder)
    assert card.variants == {'int8': variant}
    assert (variant.metric, variant.fp32_score) == ('label_agreement', 1.0)
    assert variant.calibrated_on == 'four scenes'
    assert variant.measured_on == 'six scenes, the worst of openvino, onnxruntime'
    assert int8_kernels(folder) == 3
    assert_old_engines_read(folder / INT8_GRAPH_FILE)
    agreements = []
    for engine in ('openvino', 'onnxruntime'):
        fp32, int8 = (
            seg_ros.load(folder, backend=engine, precision=each) for each in ('fp32', 'int8')
        )
        assert int8.backend.precision == 'int8'
        labels = [(fp32.segment(i, 'rgb').labels, int8.segment(i, 'rgb').labels) for i in IMAGES]
        agreements.append(np.mean([a == b for a, b in labels]))
    assert 0.95 <= min(agreements) < 1
    assert variant.score == pytest.approx(min(agreements), abs=1e-4)
    # done once more, it is replaced
    assert quantize(folder, 5) == variant
    assert set(load_model_card(folder).files) == {GRAPH_FILE, INT8_GRAPH_FILE}


def test_mean_iou_is_measured_against_the_truth(folder):
    fp32 = seg_ros.load(folder, backend='openvino', precision='fp32')
    truths = [fp32.segment(image, 'rgb').labels for image in IMAGES]
    truths[0][:20] = 255  # void is left out
    truths[1][:] = 0
    variant = quantize(folder, 10, Validation(frames(truths), MEAN_IOU, 'scenes'))
    assert variant.metric == 'mean_iou'
    assert 0.5 < variant.fp32_score < 1
    assert 0 < variant.loss_points < 10


def test_layers_that_hurt_are_taken_back(tmp_path):
    folder = write_convolutions(tmp_path / 'outlier', outlier=300)
    with_loss = quantize(folder, 99)
    assert int8_kernels(folder) == 3
    assert with_loss.loss_points > 5
    repaired = quantize(folder, 3)
    assert repaired.loss_points <= 3
    assert 0 < int8_kernels(folder) < 3


def test_taking_layers_back_is_shown_and_ends_in_time(tmp_path, caplog):
    folder = write_convolutions(tmp_path / 'outlier', outlier=300)
    before = contents(folder)
    caplog.set_level('INFO')
    with pytest.raises(ValueError, match=r'stopped after .* minutes, nothing is written.*loses'):
        quantize(folder, 3, max_minutes=1e-6)
    assert ' min: ' in caplog.text
    assert contents(folder) == before


def test_too_large_a_loss_is_refused_and_nothing_written(folder):
    before = contents(folder)
    with pytest.raises(ValueError, match=r'left as it is: in int8 it loses 0\.\d\d points'):
        quantize(folder, 0)
    assert contents(folder) == before


def test_a_failure_while_writing_leaves_a_folder_that_works(folder, monkeypatch):
    quantize(folder, 5)
    real = Path.replace

    def fail(self, target):
        if Path(target).name == INT8_GRAPH_FILE:
            raise OSError('disk full')
        return real(self, target)

    monkeypatch.setattr(Path, 'replace', fail)
    with pytest.raises(OSError, match='disk full'):
        quantize(folder, 5)
    card = load_model_card(folder)
    assert card.variants == {}
    assert seg_ros.load(folder).segment(IMAGES[0], 'rgb').labels.shape == SIZE


@pytest.fixture
def photos(tmp_path):
    (tmp_path / 'photos').mkdir()
    for i, image in enumerate(IMAGES):
        cv2.imwrite(str(tmp_path / f'photos/{i}.png'), image[..., ::-1])
    return tmp_path / 'photos'


def test_the_command_says_that_agreement_is_no_accuracy(folder, photos, capsys):
    arguments = ['quantize', '--model', str(folder), '--calibration', str(photos)]
    assert cli.main([*arguments, '--allow-loss', '5']) == 0
    said = capsys.readouterr().out
    assert 'not whether that label is right' in said
    variant = load_model_card(folder).variants['int8']
    assert variant.calibrated_on == '3 images of photos'
    assert variant.measured_on.startswith('3 images of photos, not calibrated on')
    assert cli.main([*arguments, '--allow-loss', '0']) == 2
    assert 'is left as it is' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--dataset', 'camvid'], '--dataset needs --root'),
        (['--bag', 'somewhere'], '--bag and --label-topic belong together'),
        (['--max-images', '1'], '--max-images is 1; allowed are 2 and above'),
        (['--allow-loss', '-1'], 'give points of 100'),
    ],
)
def test_arguments_that_make_no_sense_are_refused(folder, photos, capsys, arguments, message):
    start = ['quantize', '--model', str(folder), '--calibration', str(photos)]
    assert cli.main([*start, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_images_is_refused(folder, tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    start = ['quantize', '--model', str(folder), '--calibration', str(tmp_path / 'empty')]
    assert cli.main(start) == 2
    assert 'empty' in capsys.readouterr().err


def test_pictures_of_one_colour_are_not_calibrated_on(folder, tmp_path, capsys):
    blank = tmp_path / 'blank'
    blank.mkdir()
    for level in range(3):
        cv2.imwrite(str(blank / f'{level}.png'), np.full((48, 64, 3), 100 * level, np.uint8))
    assert cli.main(['quantize', '--model', str(folder), '--calibration', str(blank)]) == 2
    said = capsys.readouterr()
    assert 'picture of one colour' in said.out
    assert 'no image to calibrate with' in said.err
    assert not (folder / INT8_GRAPH_FILE).exists()
