from __future__ import annotations

import dataclasses

import pytest

from seg_ros import backends
from seg_ros.backends import load_backend
from seg_ros.backends.choice import Choice, choose_precision, cpu_precisions, processor_flags
from seg_ros.model_card import GRAPH_FILE, INT8_GRAPH_FILE, Variant, load_model_card
from test.conftest import write_primary_model

OLD = cpu_precisions({'FP32', 'INT8'}, {'avx2'}, 'x86_64')
VNNI = cpu_precisions({'FP32', 'INT8'}, {'avx2', 'avx512_vnni'}, 'x86_64')
NEW = cpu_precisions({'FP32', 'BF16', 'INT8'}, {'avx512_vnni', 'avx512_bf16'}, 'x86_64')
ARM = cpu_precisions({'FP32', 'FP16', 'INT8'}, {'asimdhp', 'asimddp'}, 'aarch64')


@pytest.fixture
def card(primary_model):
    return load_model_card(primary_model)


def with_int8(card, loss_points=0.1, **changes):
    variant = Variant(INT8_GRAPH_FILE, 'mean_iou', 0.8 - loss_points / 100, 0.8, 'these', 'those')
    files = {GRAPH_FILE: '', INT8_GRAPH_FILE: ''}
    return dataclasses.replace(card, files=files, variants={'int8': variant}, **changes)


@pytest.mark.parametrize(
    ('available', 'expected'),
    [
        (OLD, ('fp32', 'the model has no int8 graph')),
        (NEW, ('bf16', 'processor has avx512_bf16')),
        (ARM, ('fp32', 'every processor')),
    ],
)
def test_without_an_int8_graph_the_processor_decides(card, available, expected):
    choice = choose_precision('auto', card, available, 'here')
    assert choice.precision == expected[0]
    assert expected[1] in choice.reason


@pytest.mark.parametrize(
    ('available', 'feature'), [(OLD, 'avx2'), (VNNI, 'avx512_vnni'), (NEW, 'avx512_vnni')]
)
def test_an_int8_graph_is_taken_where_it_was_measured_to_pay(card, available, feature):
    choice = choose_precision('auto', with_int8(card), available, 'here')
    reason = f'processor has {feature}; its int8 graph changes mean_iou by -0.10 points'
    assert choice == Choice('int8', reason)


def test_an_int8_graph_that_costs_accuracy_is_left_alone(card):
    choice = choose_precision('auto', with_int8(card, loss_points=0.8), NEW, 'here')
    assert choice.precision == 'bf16'
    assert 'its int8 graph changes mean_iou by -0.80 points' in choice.reason
    assert choose_precision('int8', with_int8(card, loss_points=0.8), NEW, 'here').precision == (
        'int8'
    )


def test_a_net_that_the_engine_runs_slower_in_int8_stays_in_the_next_precision(card):
    depthwise = with_int8(card, net='mobilenet_unet')
    assert choose_precision('auto', depthwise, NEW, 'here').precision == 'int8'
    slow = {'mobilenet_unet'}
    choice = choose_precision('auto', depthwise, NEW, 'here', slow_in_int8=slow)
    assert choice.precision == 'bf16'
    assert 'mobilenet_unet is slower in int8' in choice.reason
    assert choose_precision('auto', depthwise, VNNI, 'here', slow_in_int8=slow).precision == 'fp32'
    assert choose_precision('int8', depthwise, NEW, 'here', slow_in_int8=slow).precision == 'int8'


def test_int8_is_not_chosen_where_it_was_not_measured(card):
    assert choose_precision('auto', with_int8(card), ARM, 'here').precision == 'fp32'
    assert choose_precision('int8', with_int8(card), ARM, 'here').precision == 'int8'
    assert choose_precision('fp16', card, ARM, 'here').precision == 'fp16'


def test_bf16_that_is_slower_than_fp32_has_to_be_asked_for(card):
    flags = {'GenuineIntel', 'avx512_bf16', 'avx512_vnni'}
    intel = cpu_precisions({'FP32', 'BF16', 'INT8'}, flags, 'x86_64')
    assert choose_precision('auto', card, intel, 'here').precision == 'fp32'
    assert choose_precision('bf16', card, intel, 'here').precision == 'bf16'
    with_amx = cpu_precisions({'FP32', 'BF16', 'INT8'}, flags | {'amx_bf16'}, 'x86_64')
    assert choose_precision('auto', card, with_amx, 'here').precision == 'bf16'


def test_bf16_without_the_instruction_is_no_choice(card):
    emulated = cpu_precisions({'FP32', 'BF16', 'INT8'}, {'avx512f', 'avx512_vnni'}, 'x86_64')
    assert 'bf16' not in emulated
    with pytest.raises(ValueError, match='here cannot compute in bf16 here; available: int8, fp'):
        choose_precision('bf16', card, emulated, 'here')


def test_what_cannot_be_had_is_refused(card):
    with pytest.raises(ValueError, match="unknown precision 'int4'; available: auto, fp32"):
        choose_precision('int4', card, NEW, 'here')
    with pytest.raises(ValueError, match='no int8 graph; make one: python -m seg_ros quantize'):
        choose_precision('int8', card, NEW, 'here')


@pytest.mark.parametrize('name', ['openvino', 'onnxruntime', 'torch'])
def test_a_device_that_is_not_there_is_refused(card, name):
    if name == 'torch':
        pytest.importorskip('torch')
    if 'cuda' in backends._class_of(name).devices():
        pytest.skip('this machine has CUDA')
    with pytest.raises(ValueError, match="has no device 'cuda' here"):
        load_backend(name, card, device='cuda')
    with pytest.raises(ValueError, match="no installed engine has device 'tensorrt'; there are"):
        load_backend('auto', card, device='tensorrt')
    with pytest.raises(ValueError, match="unknown device 'gpu'; available: auto, cpu"):
        load_backend(name, card, device='gpu')


def test_execution_providers_are_named_in_the_refusal(card):
    ort = pytest.importorskip('onnxruntime')
    if 'CUDAExecutionProvider' in ort.get_available_providers():
        pytest.skip('this ONNX Runtime has CUDA')
    with pytest.raises(ValueError, match='CPUExecutionProvider'):
        load_backend('onnxruntime', card, device='cuda')


def test_a_cuda_engine_comes_first_where_there_is_an_nvidia_device(monkeypatch):
    class WithCuda:
        @staticmethod
        def devices():
            return ('cpu', 'cuda')

    class WithoutCuda:
        @staticmethod
        def devices():
            return ('cpu',)

    engines = {'openvino': WithoutCuda, 'onnxruntime': WithCuda, 'torch': WithoutCuda}
    monkeypatch.setattr(backends, '_class_of', engines.__getitem__)
    monkeypatch.setattr(backends, 'has_nvidia_driver', lambda: True)
    monkeypatch.setattr(backends, 'is_installed', engines.__contains__)
    assert backends._best_backend('auto') == 'onnxruntime'
    assert backends._best_backend('cpu') == 'openvino'
    monkeypatch.setattr(backends, 'has_nvidia_driver', lambda: False)
    assert backends._best_backend('auto') == 'openvino'


def test_the_choice_is_logged_with_its_reason(tmp_path, caplog):
    card = load_model_card(write_primary_model(tmp_path / 'told'))
    with caplog.at_level('INFO', logger='seg_ros.backends'):
        backend = load_backend('openvino', card, precision='fp32')
    assert 'told: openvino fp32 on cpu: asked for' in caplog.text
    assert (backend.device, backend.precision, backend.reason) == ('cpu', 'fp32', 'asked for')


def test_the_flags_of_this_processor_are_found():
    assert processor_flags() & {'sse2', 'fp', 'asimd'}
