"""From a trained net to a model folder: ``model.onnx``, ``weights.safetensors``, ``model.yaml``.

The folder appears in one step and only after ONNX Runtime and OpenVINO have given the labels of
the torch net on real images.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxscript
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn

from seg_ros.backends import load_backend
from seg_ros.model_card import (
    GRAPH_FILE,
    WEIGHTS_FILE,
    ModelCard,
    load_model_card,
    save_model_card,
)
from seg_ros.nets.deployed import DeployedNet, load_net
from seg_ros.nets.segmentation_net import SegmentationNet

LOG = logging.getLogger(__name__)

WeightsDtype = Literal['float32', 'float16']
ENGINES = ('onnxruntime', 'openvino')
OPSET = 20
MIN_LABEL_AGREEMENT = 0.999
MAX_RELATIVE_ERROR = 1e-3
_TINY = float(np.finfo(np.float32).tiny)  # constant logits divide by it


@dataclass(frozen=True)
class Parity:
    """How close an engine comes to torch.

    Attributes:
        label_agreement: Share of the logits' pixels with the same strongest class, worst image.
        relative_error: Largest difference of a logit over the range of the image's logits, worst
            image.
    """

    label_agreement: float
    relative_error: float

    @property
    def holds(self) -> bool:
        """Whether the exported net may be used for the original; false for NaN."""
        return (
            self.label_agreement >= MIN_LABEL_AGREEMENT
            and self.relative_error <= MAX_RELATIVE_ERROR
        )


def export_net(
    net: SegmentationNet,
    card: ModelCard,
    folder: Path,
    images_hwc: Sequence[np.ndarray],
    *,
    weights_dtype: WeightsDtype = 'float32',
    overwrite: bool = False,
) -> dict[str, Parity]:
    """Write a model folder, or nothing.

    The reference of the check is the net with its weights as they are stored, so that rounding to
    float16 is no excuse for an engine; what the rounding itself does is in the result as
    ``storage`` and must hold the same bounds.

    Args:
        net: The trained net, as ``build_net(card.net, ...)`` made it; left as it is.
        card: Everything about the model but its files.
        folder: The folder to write.
        images_hwc: Real images for the check, (h, w, 3) uint8 RGB of the card's input size.
        weights_dtype: What kernels are stored as, in both files. Vectors (biases, statistics) stay
            float32 and engines compute in float32 either way.
        overwrite: Replace a folder that exists.

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
        save_model_card(replace(card, files={WEIGHTS_FILE: ''}), scratch)
        stored = load_net(load_model_card(scratch))
        size_hw = (card.input.height_px, card.input.width_px)
        write_graph(stored, size_hw, scratch / GRAPH_FILE, weights_dtype)
        card = replace(card, files={GRAPH_FILE: '', WEIGHTS_FILE: ''})
        save_model_card(card, scratch)
        parity = {
            'storage': _storage_parity(net, stored, images_hwc),
            **engine_parity(load_model_card(scratch), stored, images_hwc),
        }
        if wrong := {name: each for name, each in parity.items() if not each.holds}:
            raise ValueError(
                f'{card.name} is not written: {wrong}; needed are label agreement >= '
                f'{MIN_LABEL_AGREEMENT} and relative error <= {MAX_RELATIVE_ERROR}'
            )
        export_facts = {name: asdict(each) for name, each in parity.items()}
        save_model_card(
            replace(card, provenance={**card.provenance, 'export_parity': export_facts}), scratch
        )
        scratch.chmod(0o755)  # temporary folders and safetensors are private to their owner
        for file in scratch.iterdir():
            file.chmod(0o644)
        _put_in_place(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return parity


def save_weights(net: SegmentationNet, path: Path, dtype: WeightsDtype = 'float32') -> None:
    """Save a net's state as ``.safetensors``; with float16, kernels are rounded, vectors not."""
    state = {
        name: (tensor.half() if dtype == 'float16' and _is_kernel(tensor) else tensor)
        .detach()
        .cpu()
        .contiguous()
        .clone()
        for name, tensor in net.state_dict().items()
    }
    save_file(state, path)


def write_graph(
    deployed: DeployedNet, size_hw: tuple[int, int], path: Path, dtype: WeightsDtype = 'float32'
) -> None:
    """Write the ONNX graph of a net for one input size; the same net gives the same bytes.

    Args:
        deployed: The net in eval mode.
        size_hw: Rows and columns of the graph's input ``image``.
        path: The file to write.
        dtype: Storage of the kernels; computed with in float32.
    """
    example = torch.zeros(1, *size_hw, 3, dtype=torch.uint8)
    with torch.no_grad():
        names = list(deployed.outputs(example))
        program = torch.onnx.export(
            _Outputs(deployed).eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=['image'],
            output_names=names,
            optimize=False,
            verbose=False,
        )
    assert program is not None  # it is None only for the old exporter
    # Folding constants is enough: merging batch normalisation into kernels is the engines' job,
    # and would make the graph's kernels others than those in weights.safetensors.
    onnxscript.optimizer.inline(program.model)
    onnxscript.optimizer.fold_constants(program.model)
    onnxscript.optimizer.remove_unused_nodes(program.model)
    model = program.model_proto
    _strip_traces(model)
    if dtype == 'float16':
        kernels = {f'net.net.{name}' for name, _ in deployed.net.state_dict().items()}
        _store_half(model.graph, kernels)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def engine_parity(
    card: ModelCard, reference: DeployedNet, images_hwc: Sequence[np.ndarray]
) -> dict[str, Parity]:
    """Compare a model folder in every engine with the net in torch.

    Args:
        card: The verified card of the folder.
        reference: The net in eval mode.
        images_hwc: (h, w, 3) uint8 RGB of the card's input size.
    """
    expected = [_logits(reference, image) for image in images_hwc]
    result = {}
    for name in ENGINES:
        backend = load_backend(name, card)
        found = [backend.infer(np.ascontiguousarray(image)).copy() for image in images_hwc]
        result[name] = compare_logits(expected, found)
        LOG.info('%s: %s', name, result[name])
    return result


def compare_logits(expected_chw: Sequence[np.ndarray], found_chw: Sequence[np.ndarray]) -> Parity:
    """Measure how far logits are from the expected ones, worst image; NaN where any is NaN."""
    agreements, errors = [], []
    for expected, found in zip(expected_chw, found_chw, strict=True):
        if expected.shape != found.shape:
            raise ValueError(f'logits are {found.shape}, torch gives {expected.shape}')
        agreements.append(float((expected.argmax(0) == found.argmax(0)).mean()))
        value_range = expected.max().item() - expected.min().item()
        errors.append(np.abs(expected - found).max().item() / max(value_range, _TINY))
    return Parity(min(agreements), float(np.max(errors)))


class _Outputs(nn.Module):
    """All maps as a tuple, in the order of their names."""

    def __init__(self, deployed: DeployedNet) -> None:
        super().__init__()
        self.net = deployed

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.net.outputs(image).values())


def _is_kernel(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.ndim > 1


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
    was_training = net.training
    original = DeployedNet(
        net.eval(),
        tuple((stored.mean / 255).flatten().tolist()),
        tuple((stored.std / 255).flatten().tolist()),
    ).to(next(net.parameters()).device)
    try:
        expected = [_logits(original, image) for image in images_hwc]
    finally:
        net.train(was_training)
    return compare_logits(expected, [_logits(stored, image) for image in images_hwc])


@torch.inference_mode()
def _logits(deployed: DeployedNet, image_hwc: np.ndarray) -> np.ndarray:
    image = torch.from_numpy(np.ascontiguousarray(image_hwc)).to(deployed.mean.device)
    logits: np.ndarray = deployed(image.unsqueeze(0))[0].float().cpu().numpy()
    return logits


def _strip_traces(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes down about the machine: source paths and call stacks."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    model.graph.doc_string = ''
    for entries in (
        model.graph.node,
        model.graph.initializer,
        model.graph.input,
        model.graph.output,
    ):
        for entry in entries:
            del entry.metadata_props[:]
            entry.doc_string = ''


def _store_half(graph: onnx.GraphProto, names: set[str]) -> None:
    """Store kernels as float16 with a Cast to float32 in front of their use."""
    casts = []
    for tensor in graph.initializer:
        wanted = tensor.name in names and len(tensor.dims) > 1
        if not wanted or tensor.data_type != TensorProto.FLOAT:
            continue
        name = tensor.name
        half = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, f'{name}.float16'))
        casts.append(
            helper.make_node('Cast', [tensor.name], [name], f'cast.{name}', to=TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _put_in_place(scratch: Path, folder: Path) -> None:
    """Rename the finished folder; the old one, if any, is gone only when the new one stands."""
    if not folder.exists():
        scratch.rename(folder)
        return
    retired = Path(tempfile.mkdtemp(prefix=f'.{folder.name}-old-', dir=folder.parent))
    folder.rename(retired / folder.name)
    try:
        scratch.rename(folder)
    except OSError:
        (retired / folder.name).rename(folder)
        raise
    finally:
        shutil.rmtree(retired, ignore_errors=True)
