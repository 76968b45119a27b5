"""Every engine in every precision against torch in fp32, on a small exported net."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from seg_ros.backends import BACKENDS, load_backend
from seg_ros.evaluation.frames import Frame
from seg_ros.image import CameraImage
from seg_ros.model_card import load_model_card

torch = pytest.importorskip('torch')

from seg_ros.model_export import export_net  # noqa: E402
from test.nets.images import scene  # noqa: E402
from test.test_model_export import SIZE, card_for, warm_net  # noqa: E402

PRECISIONS = ['fp32', 'bf16', 'int8']


def load_or_skip(name, card, precision, **options):
    try:
        return load_backend(name, card, precision=precision, **options)
    except ValueError as error:
        if 'cannot compute in' not in str(error) and 'has no int8 graph' not in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope='module')
def images():
    return np.stack([scene(*SIZE, seed=seed) for seed in (5, 6, 7)])


@pytest.fixture(scope='module', params=['mini_unet', 'segnet_basic'])
def exported(request, tmp_path_factory, images):
    net = warm_net(request.param)
    folder = tmp_path_factory.mktemp('models') / request.param
    export_net(net, card_for(request.param, net), folder, list(images[:1]))
    if importlib.util.find_spec('nncf') is not None:
        add_int8(folder, images)
    return load_model_card(folder)


def add_int8(folder, images):
    from seg_ros.quantize import LABEL_AGREEMENT, Validation, quantize_model

    frames = [Frame(str(i), CameraImage(image, 'rgb'), None, i) for i, image in enumerate(images)]
    quantize_model(
        load_model_card(folder),
        list(images),
        Validation(frames, LABEL_AGREEMENT, 'scenes'),
        calibrated_on='scenes',
        allowed_loss_points=30,  # of random weights; what int8 does to them is tested below
    )


@pytest.fixture(scope='module')
def reference(exported, images):
    backend = load_backend('torch', exported, precision='fp32', device='cpu')
    return np.stack([backend.infer(image) for image in images])


def agreement(found_chw, expected_chw, precision):
    """Share of equal labels; for short numbers, of the half that fp32 is surest of.

    Random weights leave many pixels where the two largest logits are almost the same.
    """
    same = found_chw.argmax(0) == expected_chw.argmax(0)
    if precision == 'fp32':
        return same.mean()
    second, first = np.sort(expected_chw, axis=0)[-2:]
    return same[first - second >= np.median(first - second)].mean()


@pytest.mark.parametrize('precision', PRECISIONS)
@pytest.mark.parametrize('name', BACKENDS)
def test_labels_are_those_of_the_reference(exported, images, reference, name, precision):
    minimum = 0.999 if precision == 'fp32' else 0.98
    if exported.net == 'segnet_basic' and precision == 'int8':
        minimum = 0.9  # the place of a maximum jumps where two neighbours round to the same byte
    backend = load_or_skip(name, exported, precision, device='cpu')
    assert (backend.name, backend.device, backend.precision) == (name, 'cpu', precision)
    for image, expected in zip(images, reference, strict=True):
        logits = backend.infer(image)
        assert (logits.dtype, logits.shape) == (np.float32, expected.shape)
        assert agreement(logits, expected, precision) >= minimum


@pytest.mark.parametrize('name', BACKENDS)
def test_a_batch_gives_what_its_images_give_alone(exported, images, reference, name):
    backend = load_backend(name, exported, precision='fp32', device='cpu', max_batch=3)
    assert backend.max_batch in (1, 3)
    if name == 'torch':
        assert backend.max_batch == 3
    for count in range(1, backend.max_batch + 1):
        logits = backend.infer_batch(images[:count])
        for found, expected in zip(logits, reference[:count], strict=True):
            assert (found.argmax(0) == expected.argmax(0)).mean() >= 0.999
