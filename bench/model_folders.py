"""What is measured: models that ship, int8 graphs of random weights, a beginner's graph."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from bench.frames import read_frames
from seg_ros.evaluation.frames import Frame
from seg_ros.image import CameraImage
from seg_ros.model_card import CARD_FILE, ModelCard, load_model_card
from seg_ros.nets.deployed import DeployedNet, load_net
from seg_ros.quantize import LABEL_AGREEMENT, Validation, quantize_model
from seg_ros.share import share_file

if TYPE_CHECKING:
    from pathlib import Path

NUM_CLASSES = 4  # as the shipped RoboCup models have
_CALIBRATION, _VALIDATION = 8, 2  # images

for _chatty in ('nncf', 'onnx_ir', 'onnxscript'):
    logging.getLogger(_chatty).setLevel(logging.ERROR)


def shipped_models() -> list[ModelCard]:
    """Cards of ``models/*``."""
    folders = share_file('models').iterdir()
    return [load_model_card(each) for each in sorted(folders) if (each / CARD_FILE).is_file()]


def add_int8_variant(card: ModelCard) -> ModelCard:
    """Quantise a model with random weights, calibrated on the bag that ships here.

    What it costs in labels is measured and means nothing for random weights, hence any loss is
    allowed, and the variant has to be asked for with ``precision: int8``.
    """
    size_hw = (card.input.height_px, card.input.width_px)
    images = [np.ascontiguousarray(each[..., ::-1]) for each in read_frames(size_hw, _CALIBRATION)]
    frames = [
        Frame(f'frame_{number}', CameraImage(pixels, 'rgb'), None, float(number))
        for number, pixels in enumerate(images[:_VALIDATION])
    ]
    quantize_model(
        card,
        images,
        Validation(frames, LABEL_AGREEMENT, 'rendered frames'),
        calibrated_on='rendered frames',
        allowed_loss_points=100.0,
    )
    assert card.folder is not None
    return load_model_card(card.folder)


class _FloatIn(nn.Module):
    """What training code exports: normalised floats in, logits of full size out."""

    def __init__(self, deployed: DeployedNet) -> None:
        super().__init__()
        self.net = deployed.net

    def forward(self, image_nchw: Tensor) -> Tensor:
        logits: Tensor = self.net(image_nchw, full_resolution=True)['logits']
        return logits


def write_float_graph(card: ModelCard, path: Path) -> Path:
    """Write the graph of a model as ``bench.tutorial_node`` takes it."""
    example = torch.zeros(1, 3, card.input.height_px, card.input.width_px)
    torch.onnx.export(
        _FloatIn(load_net(card)).eval(),
        (example,),
        str(path),
        dynamo=True,
        external_data=False,
        input_names=['image'],
        output_names=['logits'],
        verbose=False,
    )
    return path
