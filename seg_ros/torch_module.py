"""From a torch module of any project to a model folder; ``seg_ros.export`` is this ``export``."""

from __future__ import annotations

import colorsys
import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seg_ros.calibration_images import load_calibration
from seg_ros.datasets.folder import load_classes
from seg_ros.foreign_graph import OPSETS, ForeignNet
from seg_ros.graph_import import ForeignGraph
from seg_ros.model_card import ClassInfo, ModelCard
from seg_ros.parity import MIN_LABEL_AGREEMENT
from seg_ros.share import SAMPLE_BAG, share_file

_KEYS = ('logits', 'out')  # what transformers and torchvision call the logits


def export(
    module: nn.Module,
    folder: Path | str,
    *,
    classes: Path | str | Sequence[ClassInfo | str],
    size: tuple[int, int],
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
    std: tuple[float, float, float] = (0.229, 0.224, 0.225),
    order: str = 'rgb',
    value_range: int = 1,
    output: str | None = None,
    images: Sequence[Path | str] = (),
    max_images: int = 4,
    overwrite: bool = False,
    min_label_agreement: float = MIN_LABEL_AGREEMENT,
) -> ModelCard:
    """Write a model folder of a torch module, or nothing.

    Args:
        module: Takes (1, 3, h, w) float32 and gives logits, probabilities or ids: a tensor, or a
            mapping that holds it. It is run in eval mode on its own device; left as it was.
        folder: The folder to write; its name becomes the model's.
        classes: One per channel: a ``classes.yaml``, or ``ClassInfo``, or names.
        size: Rows and columns of the input.
        mean: Per channel in the order of the net; see ``ForeignNet``.
        std: Per channel in the order of the net.
        order: ``rgb`` or ``bgr``.
        value_range: 1, or 255 where mean and std are those of bytes.
        output: Key of a mapping; ``logits``, ``out`` or the only one when None.
        images: Real images, folders of them, videos or bags to compare the engines on; frames of
            the demo when empty.
        max_images: How many of them.
        overwrite: Replace a folder that exists.
        min_label_agreement: Share of the pixels on which engines must agree with torch.

    Returns:
        The card of the folder.

    Raises:
        ValueError: If the module cannot be exported, gives something else, or an engine disagrees.
        FileNotFoundError: If a file is missing.
        FileExistsError: If the folder exists and ``overwrite`` is false.
    """
    folder, listed = Path(folder), _classes(classes)
    if folder.exists() and not overwrite:
        raise FileExistsError(f'{folder} exists; choose another one, or give overwrite=True')
    net = ForeignNet(order, mean, std, value_range, size_hw=size)
    was_training = module.training
    wrapped = _OneOutput(module, output).eval()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / f'{type(module).__name__}.onnx'
            _write(wrapped, net, path)
            graph = ForeignGraph(path, net)
            paths = [Path(each) for each in images] or [share_file(SAMPLE_BAG)]
            pixels, _ = load_calibration(paths, (None, None), graph.spec, max_images)
            card, _, _ = graph.write(
                folder,
                listed,
                pixels,
                overwrite=overwrite,
                min_label_agreement=min_label_agreement,
                reference=lambda image: wrapped.run(graph.port.pixels(image, net)),
            )
    finally:
        module.train(was_training)
    return card


class _OneOutput(nn.Module):
    """A module that gives one tensor, whatever the module in it gives."""

    def __init__(self, module: nn.Module, key: str | None) -> None:
        super().__init__()
        self.module = module
        self._key = key

    def forward(self, image: Tensor) -> Tensor:
        found: Any = self.module(image)
        if isinstance(found, Mapping):
            known = [key for key in (self._key,) if key] or [k for k in _KEYS if k in found]
            key = (known or list(found))[0]
            if key not in found or (not known and len(found) > 1):
                first = next(iter(found))
                raise ValueError(
                    f'the module gives {sorted(found)}; name one of them: output={first!r}'
                )
            found = found[key]
        if isinstance(found, (tuple, list)) and len(found) == 1:
            found = found[0]
        if not isinstance(found, Tensor):
            raise ValueError(
                f'the module gives a {type(found).__name__}; wrap it in a module that gives the '
                'logits as a tensor'
            )
        return found

    @torch.inference_mode()
    def run(self, pixels: np.ndarray) -> np.ndarray:
        parameter = next(self.parameters(), torch.empty(0))
        found: np.ndarray = self(torch.from_numpy(pixels).to(parameter.device)).cpu().numpy()
        return found


def _write(module: _OneOutput, net: ForeignNet, path: Path) -> None:
    assert net.size_hw is not None
    module.run(np.zeros((1, 3, *net.size_hw), np.float32))  # its own errors, not the exporter's
    parameter = next(module.parameters(), torch.empty(0))
    example = torch.zeros(1, 3, *net.size_hw, device=parameter.device)
    for chatty in ('onnx_ir', 'onnxscript', 'torch.onnx'):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            torch.onnx.export(
                module,
                (example,),
                str(path),
                dynamo=True,
                opset_version=OPSETS[1],
                input_names=['image'],
                output_names=['logits'],
                verbose=False,
            )
        except Exception as error:  # torch's share no narrower class
            raise ValueError(
                f'torch cannot export {type(module.module).__name__}: {error}'
            ) from error


def _classes(given: Path | str | Sequence[ClassInfo | str]) -> tuple[ClassInfo, ...]:
    if isinstance(given, (str, Path)):
        return load_classes(Path(given))[0]
    return tuple(
        each if isinstance(each, ClassInfo) else ClassInfo(i, each, _color(i, len(given)))
        for i, each in enumerate(given)
    )


def _color(index: int, count: int) -> tuple[int, int, int]:
    """Colours evenly around the wheel."""
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(index / count, 0.8, 1))
    return red, green, blue
