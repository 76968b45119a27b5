"""From a model folder's graph to its int8 variant, with what that costs on the card.

Ranges of the activations come from calibration images (post-training quantisation with NNCF). The
result is ONNX with QuantizeLinear and DequantizeLinear, kernels stored as int8, which OpenVINO and
ONNX Runtime both run. Layers are taken back to fp32, those that hurt most first, until the loss is
small enough; at most one for every two convolutions.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import onnx
import onnxruntime as ort

from seg_ros.backends import is_installed, load_backend
from seg_ros.backends.choice import FP32, INT8, MAX_LOSS_POINTS
from seg_ros.evaluation.frames import Frame
from seg_ros.evaluation.scoring import Scoring
from seg_ros.model_card import (
    GRAPH_FILE,
    INT8_GRAPH_FILE,
    ModelCard,
    Variant,
    load_model_card,
    save_model_card,
)
from seg_ros.segmenter import Segmenter

LOG = logging.getLogger(__name__)

MEAN_IOU, LABEL_AGREEMENT = 'mean_iou', 'label_agreement'
ENGINES = ('openvino', 'onnxruntime')
MAX_MINUTES = 30.0
_RANKING_FRAMES = 24


@dataclass(frozen=True)
class Validation:
    """Frames that tell what quantisation costs.

    Attributes:
        frames: With a truth each for ``mean_iou``; it is not looked at for ``label_agreement``.
        metric: ``mean_iou``, or ``label_agreement`` with the labels of the fp32 graph.
        description: What the frames are, for the card.
        void_ids: Ids of the truth that are void beside 255.
    """

    frames: Sequence[Frame]
    metric: str
    description: str
    void_ids: tuple[int, ...] = ()


def quantize_model(
    card: ModelCard,
    calibration_hwc: Sequence[np.ndarray],
    validation: Validation,
    *,
    calibrated_on: str,
    allowed_loss_points: float = MAX_LOSS_POINTS,
    max_minutes: float = MAX_MINUTES,
) -> Variant:
    """Write the int8 variant of a model into its folder, or nothing.

    The folder can be used at every moment, whatever fails.

    Args:
        card: Of a folder that ``load_model_card`` verified.
        calibration_hwc: (h, w, 3) uint8 RGB of the card's input size, as ``to_network`` gives
            them; a few hundred that look like what the cameras will see.
        validation: What the loss is measured on, in every installed engine; the worst one counts.
        calibrated_on: What the calibration images are, for the card.
        allowed_loss_points: How much worse than fp32 the variant may be, in points of 100.
        max_minutes: How long layers may be taken back to fp32; each try is measured and logged.

    Returns:
        What the card says of the variant now.

    Raises:
        ValueError: If there are no images, the folder cannot be written, the variant loses more
            than is allowed, or the time is over.
        FileNotFoundError: If the card has no ``model.onnx``.
    """
    folder = card.file(GRAPH_FILE).parent
    if not os.access(folder, os.W_OK):
        raise ValueError(f'{folder} cannot be written; copy the model folder to where you can')
    if not calibration_hwc:
        raise ValueError('no image to calibrate with')
    if not validation.frames:
        raise ValueError('no frame to measure the loss on')
    with tempfile.TemporaryDirectory() as scratch:
        judge = _Judge(card, validation, Path(scratch))
        model = _quantized(
            _folded_graph(card.read_graph(FP32), Path(scratch)),
            calibration_hwc,
            judge,
            allowed_loss_points,
            max_minutes,
        )
        score, _ = judge.score(model)
    variant = Variant(
        file=INT8_GRAPH_FILE,
        metric=validation.metric,
        score=round(score, 5),
        fp32_score=round(judge.fp32_score, 5),
        measured_on=f'{validation.description}, the worst of {", ".join(judge.engines)}',
        calibrated_on=calibrated_on,
    )
    if not variant.loss_points <= allowed_loss_points:
        raise ValueError(
            f'{card.name} is left as it is: in int8 it loses {variant.loss_points:.2f} points of '
            f'{variant.metric} ({variant.fp32_score:.4f} to {variant.score:.4f}); '
            f'allowed are {allowed_loss_points:g}. Calibrate on more and other images, or allow '
            'more with --allow-loss'
        )
    _put_in_place(card, folder, model, variant)
    return variant


class _Judge:
    """Scores graphs of one model on the same frames, in every installed engine."""

    def __init__(self, card: ModelCard, validation: Validation, scratch: Path) -> None:
        self.engines = [name for name in ENGINES if is_installed(name)]
        self.frames = list(validation.frames)
        self._card = replace(card, files={GRAPH_FILE: ''}, variants={}, folder=None)
        self._scratch = scratch
        self._validation = validation
        fp32 = Segmenter(card, load_backend(self.engines[0], card, precision=FP32))
        if validation.metric == LABEL_AGREEMENT:
            self.frames = [replace(frame, truth=_labels(fp32, frame)) for frame in self.frames]
        self.fp32_score, _ = self._score(fp32, self.frames)

    def score(
        self, model: onnx.ModelProto, frames: Iterable[Frame] | None = None
    ) -> tuple[float, list[float]]:
        """Score of a graph in the engine where it does worst, and that of each frame; 0..1."""
        folder = Path(tempfile.mkdtemp(dir=self._scratch))
        (folder / GRAPH_FILE).write_bytes(model.SerializeToString())
        save_model_card(self._card, folder)
        card = load_model_card(folder)
        shown = self.frames if frames is None else list(frames)
        segmenters = [
            Segmenter(card, load_backend(name, card, precision=FP32)) for name in self.engines
        ]
        worst = min(
            (self._score(segmenter, shown) for segmenter in segmenters), key=lambda s: s[0]
        )
        shutil.rmtree(folder)
        return worst

    def _score(self, segmenter: Segmenter, frames: Iterable[Frame]) -> tuple[float, list[float]]:
        void_ids = self._validation.void_ids
        scoring = Scoring(segmenter.card.classes, void_ids=void_ids, with_boundary=False)
        for frame in frames:
            scoring.add(frame.name, _labels(segmenter, frame), truth_hw=frame.truth)
        scoring.demand_scores()
        if self._validation.metric == LABEL_AGREEMENT:
            return scoring.scores.pixel_accuracy, list(scoring.accuracies)
        return scoring.scores.mean_iou, list(scoring.mious)


def _labels(segmenter: Segmenter, frame: Frame) -> np.ndarray:
    pixels, order = frame.image.pixels, frame.image.order
    return segmenter.segment(pixels, order, with_confidence=False).labels


def _folded_graph(graph: bytes, scratch: Path) -> onnx.ModelProto:
    """The graph with batch normalisation merged into the kernels.

    Left outside, it would keep the engines from running convolution and activation in int8 in one
    go. Float16 kernels become float32 on the way.
    """
    target = scratch / 'folded.onnx'
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    ort.InferenceSession(graph, options, providers=['CPUExecutionProvider'])
    model = onnx.load(target)
    model.ir_version = onnx.load_from_string(graph).ir_version
    used = {node.domain or '' for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model


def _quantized(
    model: onnx.ModelProto,
    calibration_hwc: Sequence[np.ndarray],
    judge: _Judge,
    allowed_loss_points: float,
    max_minutes: float,
) -> onnx.ModelProto:
    """Quantise, and take layers back to fp32 where the loss is too large."""
    (image,) = model.graph.input
    convolutions = sum(node.op_type in ('Conv', 'ConvTranspose') for node in model.graph.node)

    began = time.monotonic()
    losses: list[float] = []  # points of each try on all frames

    def validate(candidate: Any, frames: Iterable[Frame]) -> tuple[float, list[float]]:
        shown = list(frames)
        score, scores = judge.score(candidate, shown)
        minutes = (time.monotonic() - began) / 60
        if len(shown) == len(judge.frames):
            losses.append(100 * (judge.fp32_score - score))
        LOG.info('%.1f min: %.4f on %d frames', minutes, score, len(shown))
        if losses and minutes > max_minutes:
            raise ValueError(
                f'stopped after {minutes:.1f} minutes, nothing is written: the last graph loses '
                f'{losses[-1]:.2f} points, allowed are {allowed_loss_points:g}. Calibrate on '
                'other images, allow a larger loss, or give it more time with --max-minutes'
            )
        return score, scores

    return nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset(calibration_hwc, lambda image_hwc: {image.name: image_hwc[np.newaxis]}),
        nncf.Dataset(judge.frames),
        validate,
        max_drop=max(allowed_loss_points, 0.0) / 100,
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(calibration_hwc),
        advanced_quantization_parameters=nncf.AdvancedQuantizationParameters(
            # Processors without VNNI add two products in 16 bits, which full-range kernels can
            # overflow. Seven bits everywhere cost more than that did on such a processor
            # (mini-UNet: 0.52 points of mIoU against none); the first layer is saved from it.
            overflow_fix=nncf.OverflowFix.FIRST_LAYER,
        ),
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            ranking_subset_size=min(_RANKING_FRAMES, len(judge.frames)),
            max_num_iterations=convolutions // 2,  # a graph of fp32 layers is no int8 variant
        ),
    )


def _put_in_place(card: ModelCard, folder: Path, model: onnx.ModelProto, variant: Variant) -> None:
    """First a card without a variant, then the file, then the card that lists it."""
    files = {name: digest for name, digest in card.files.items() if name != INT8_GRAPH_FILE}
    save_model_card(replace(card, files=files, variants={}), folder)
    with tempfile.NamedTemporaryFile(dir=folder, prefix='.quantize-', delete=False) as stream:
        stream.write(model.SerializeToString(deterministic=True))
    path = Path(stream.name)
    path.chmod(0o644)
    path.replace(folder / INT8_GRAPH_FILE)
    files = {**card.files, INT8_GRAPH_FILE: ''}
    save_model_card(replace(card, files=files, variants={INT8: variant}), folder)
