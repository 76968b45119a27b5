"""From a trained net to a model folder: ``model.onnx``, ``weights.safetensors``, ``model.yaml``.

The folder appears in one step and only after ONNX Runtime and OpenVINO have given the labels of
the torch net on real images.
"""

from __future__ import annotations

import copy
import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from seg_ros.model_card import (
    GRAPH_FILE,
    WEIGHTS_FILE,
    ClassInfo,
    InputSpec,
    ModelCard,
    load_model_card,
    save_model_card,
)
from seg_ros.nets import build_net
from seg_ros.nets.deployed import DeployedNet, WeightsDtype, load_net, save_weights
from seg_ros.nets.onnx_graph import write_graph
from seg_ros.nets.segmentation_net import SegmentationNet
from seg_ros.parity import (
    MAX_RELATIVE_ERROR,
    MIN_LABEL_AGREEMENT,
    Parity,
    compare_logits,
    demand_parity,
    engine_parity,
    put_in_place,
)

LOG = logging.getLogger(__name__)

MAX_RELATIVE_ERROR_UNPOOLING = 5e-2  # of one logit in twenty
MIN_STORED_LABEL_AGREEMENT = 0.995  # of float16 weights with the original ones


def export_net(
    net: SegmentationNet,
    card: ModelCard,
    folder: Path,
    images_hwc: Sequence[np.ndarray],
    *,
    weights_dtype: WeightsDtype = 'float32',
    overwrite: bool = False,
    min_label_agreement: float = MIN_LABEL_AGREEMENT,
) -> dict[str, Parity]:
    """Write a model folder, or nothing.

    The reference of the check is the net with its weights as they are stored, so that rounding to
    float16 is no excuse for an engine; what the rounding itself does is in the result as
    ``storage`` and has a bound of its own.

    Engines must give the same labels on 99.9 % of the logits' pixels and logits within 1e-3 of
    their range. A net that says ``unpools`` may exceed the second bound on one logit in
    twenty, up to 5e-2: max-unpooling jumps where two neighbours are almost equal and the last
    bit decides, in torch as in any engine.

    Args:
        net: The trained net, as ``build_net(card.net, ...)`` made it; left as it is.
        card: Everything about the model but its files.
        folder: The folder to write.
        images_hwc: Real images for the check, (h, w, 3) uint8 RGB of the card's input size.
        weights_dtype: What kernels are stored as, in both files. Vectors (biases, statistics) stay
            float32 and engines compute in float32 either way.
        overwrite: Replace a folder that exists.
        min_label_agreement: Share of the logits' pixels on which an engine must agree with torch.

    Returns:
        Parity per engine, and of the ``storage``.

    Raises:
        ValueError: If net, card and images do not fit, or an engine does not agree with torch.
        FileExistsError: If the folder exists and ``overwrite`` is false.
    """
    if folder.exists() and not overwrite:
        raise FileExistsError(f'{folder} exists; allow overwriting or choose another folder')
    if weights_dtype not in ('float32', 'float16'):
        raise ValueError(f'weights_dtype {weights_dtype!r}; allowed are float32 and float16')
    _check_inputs(net, card, images_hwc)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f'.{folder.name}-', dir=folder.parent))
    try:
        save_weights(net, scratch / WEIGHTS_FILE, weights_dtype)
        save_model_card(replace(card, files={WEIGHTS_FILE: ''}, variants={}), scratch)
        stored = load_net(load_model_card(scratch))
        size_hw = (card.input.height_px, card.input.width_px)
        write_graph(stored, size_hw, scratch / GRAPH_FILE, weights_dtype)
        card = replace(card, files={GRAPH_FILE: '', WEIGHTS_FILE: ''}, variants={})
        save_model_card(card, scratch)
        expected = [_logits(stored, image) for image in images_hwc]
        parity = engine_parity(load_model_card(scratch), expected, images_hwc)
        unpools = getattr(net.net, 'unpools', False)
        allowed = MAX_RELATIVE_ERROR_UNPOOLING if unpools else MAX_RELATIVE_ERROR
        demand_parity(card.name, parity, min_label_agreement, max_error=allowed)
        parity = {'storage': _storage_parity(net, stored, images_hwc), **parity}
        export_facts = {name: asdict(each) for name, each in parity.items()}
        save_model_card(
            replace(card, provenance={**card.provenance, 'export_parity': export_facts}), scratch
        )
        put_in_place(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return parity


def write_random_model(
    folder: Path, net: str, size_hw: tuple[int, int], num_classes: int
) -> ModelCard:
    """Write a model folder of a net with random weights, which cost what trained ones cost.

    Args:
        folder: Made here; its name becomes the model's.
        net: Key of ``seg_ros.nets.NETS``.
        size_hw: Rows and columns of its input.
        num_classes: Number of classes.
    """
    torch.manual_seed(0)
    built = build_net(net, num_classes)
    classes = tuple(ClassInfo(i, f'class_{i}', (i, 255 - i, i)) for i in range(num_classes))
    spec = InputSpec(*size_hw, built.logits_stride)
    card = ModelCard(folder.name, net, classes, spec, files={WEIGHTS_FILE: ''})
    folder.mkdir(parents=True)
    save_weights(built, folder / WEIGHTS_FILE)
    save_model_card(card, folder)
    write_graph(load_net(load_model_card(folder)), size_hw, folder / GRAPH_FILE)
    save_model_card(replace(card, files={WEIGHTS_FILE: '', GRAPH_FILE: ''}), folder)
    return load_model_card(folder)


def _check_inputs(net: SegmentationNet, card: ModelCard, images_hwc: Sequence[np.ndarray]) -> None:
    if net.logits_stride != card.input.logits_stride:
        raise ValueError(
            f'the card says logits_stride {card.input.logits_stride}, '
            f'net {card.net!r} has {net.logits_stride}'
        )
    if not images_hwc:
        raise ValueError('no image to check the export with; give at least one real image')
    expected = (card.input.height_px, card.input.width_px, 3)
    for image in images_hwc:
        if image.shape != expected or image.dtype != np.uint8:
            raise ValueError(f'image is {image.shape} {image.dtype}; expected {expected} uint8')


def _storage_parity(
    net: SegmentationNet, stored: DeployedNet, images_hwc: Sequence[np.ndarray]
) -> Parity:
    original = copy.deepcopy(stored)
    original.net.load_state_dict(net.state_dict())
    parity = compare_logits(
        [_logits(original, image) for image in images_hwc],
        [_logits(stored, image) for image in images_hwc],
    )
    LOG.info('storage: %s', parity)
    if not parity.label_agreement >= MIN_STORED_LABEL_AGREEMENT:
        raise ValueError(
            f'the net is not written: stored weights change its labels, {parity}; needed is '
            f'agreement >= {MIN_STORED_LABEL_AGREEMENT}. Store them as float32.'
        )
    return parity


@torch.inference_mode()
def _logits(deployed: DeployedNet, image_hwc: np.ndarray) -> np.ndarray:
    image = torch.from_numpy(np.ascontiguousarray(image_hwc)).unsqueeze(0)
    logits: np.ndarray = deployed(image)[0].float().numpy()
    return logits
