"""What a run must remember to go on as if it had never stopped, as tensors and plain values."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from seg_ros.training.phases import Model, Stage


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        stage: Number of the stage.
        stage_epoch: Epochs done in the stage.
        epoch: Epochs done in the run; the order and augmentation of the next epoch follow from it.
        epoch_step: Steps done in the epoch that is under way.
        step: Steps done in the run.
        loss_sum: Sum of the losses of the epoch that is under way.
        images: Training images seen in the run.
        seconds: Time spent in the run's steps.
        spent_seconds: What has passed of the time budget, if there is one.
        began_seconds: How much of it had passed at the first step.
        best: Best score (``criterion.score_of``) of each kept place of the stage, highest first.
        waited: Validations of the stage without progress.
        finished: Whether the run is over.
        history: One entry per epoch.
        plateau: State of the plateau schedule.
        scaler: State of the fp16 loss scaling.
    """

    stage: int = 0
    stage_epoch: int = 0
    epoch: int = 0
    epoch_step: int = 0
    step: int = 0
    loss_sum: float = 0.0
    images: int = 0
    seconds: float = 0.0
    spent_seconds: float = 0.0
    began_seconds: float = 0.0
    best: list[float] = field(default_factory=list)
    waited: int = 0
    finished: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)
    plateau: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def begin_stage(self, number: int, *, keep_best: bool) -> None:
        """Turn to the next stage; scores of another resolution do not compete."""
        self.stage, self.stage_epoch, self.epoch_step = number, 0, 0
        self.waited, self.plateau, self.scaler = 0, {}, {}
        if not keep_best:
            self.best = []


def to_tensors(model: Model, stage: Stage) -> dict[str, Tensor]:
    """Everything that resuming needs as one flat dictionary."""
    tensors = {f'net.{key}': value for key, value in model.net.state_dict().items()}
    if model.average is not None:
        tensors['average_steps'] = model.average.n_averaged
    for index, values in stage.optimizer.state_dict()['state'].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f'optimizer.{index}.{key}'] = value
    tensors['random.cpu'] = torch.get_rng_state()
    if model.device.type == 'cuda':
        tensors['random.cuda'] = torch.cuda.get_rng_state(model.device)
    return tensors


def remember(progress: Progress, stage: Stage) -> None:
    """Take what the stage keeps in plain values into the progress."""
    plateau = asdict(stage.plateau)
    if math.isinf(plateau['best']):
        plateau['best'] = None
    progress.plateau = plateau
    progress.scaler = dict(stage.scaler.state_dict())


def from_tensors(
    model: Model,
    stage: Stage,
    progress: Progress,
    tensors: dict[str, Tensor],
    weights: dict[str, Tensor],
) -> None:
    """Set model and stage to what ``to_tensors`` took, for the same configuration.

    Args:
        model: Freshly built.
        stage: Freshly built.
        progress: Read from the checkpoint.
        tensors: What ``to_tensors`` gave.
        weights: The deployed weights of the same checkpoint: the moving average.

    Raises:
        RuntimeError: If the weights are not those of the net.
    """
    model.net.load_state_dict(_part(tensors, 'net.'))
    if model.average is not None:
        model.average.module.load_state_dict(weights)
        model.average.n_averaged.copy_(tensors['average_steps'])
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _part(tensors, 'optimizer.').items():
        index, _, name = key.partition('.')
        state.setdefault(int(index), {})[name] = value
    groups = stage.optimizer.state_dict()['param_groups']
    stage.optimizer.load_state_dict({'state': state, 'param_groups': groups})
    if progress.plateau:
        values = dict(progress.plateau)
        values['best'] = -math.inf if values['best'] is None else values['best']
        for name, value in values.items():
            setattr(stage.plateau, name, value)
    if progress.scaler:
        stage.scaler.load_state_dict(progress.scaler)
    torch.set_rng_state(tensors['random.cpu'])
    if 'random.cuda' in tensors and model.device.type == 'cuda':
        torch.cuda.set_rng_state(tensors['random.cuda'], model.device)


def deployed_weights(model: Model) -> dict[str, Tensor]:
    """Weights to validate and export, under the names of ``build_net``'s module."""
    module: nn.Module = model.deployed
    return dict(module.state_dict())


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
