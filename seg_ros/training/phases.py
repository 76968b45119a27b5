"""One stage of a run: everything that a training step needs, and the step itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from seg_ros.model_card import InputSpec
from seg_ros.nets import build_net
from seg_ros.nets.segmentation_net import SegmentationNet
from seg_ros.schema import to_mapping
from seg_ros.training.augment import Augmentation, apply_photometry
from seg_ros.training.config import LossConfig, StageConfig, TrainConfig
from seg_ros.training.data_check import Survey
from seg_ros.training.distillation import Teacher
from seg_ros.training.distributed import world_size
from seg_ros.training.loader import Batch
from seg_ros.training.losses import SegmentationLoss, class_weights
from seg_ros.training.optimizers import build_optimizer, freeze, set_rate
from seg_ros.training.schedules import Plateau, Schedule

_DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}


@dataclass
class Model:
    """A net with what surrounds it through all stages.

    Attributes:
        net: The weights that are trained.
        average: Their moving average; None without one.
        device: Where they are.
    """

    net: SegmentationNet
    average: AveragedModel | None
    device: torch.device

    @property
    def deployed(self) -> nn.Module:
        """The net whose weights are validated and exported."""
        return self.average.module if self.average is not None else self.net


def build_model(config: TrainConfig, num_classes: int, device: torch.device) -> Model:
    """Build the net of a run from its seed, with its encoder's weights."""
    torch.manual_seed(config.seed)
    net = build_net(
        config.net,
        num_classes,
        encoder_weights=config.encoder_weights,
        allow_missing=config.allow_missing_weights,
        options=config.net_options,
    ).to(device)
    if config.channels_last:
        net = net.to(memory_format=torch.channels_last)
    average = None
    if config.ema_decay:
        average = AveragedModel(net, use_buffers=True)
        average.multi_avg_fn = _warmed_up_average(average, config.ema_decay)
        average.requires_grad_(requires_grad=False)
    return Model(net, average, device)


_Tensors = tuple[Tensor, ...] | list[Tensor]


def _warmed_up_average(
    model: AveragedModel, decay: float
) -> Callable[[_Tensors, _Tensors, Tensor | int], None]:
    """Moving average that forgets the random start: the decay rises to its value."""

    def average(averaged: _Tensors, live: _Tensors, taken: Tensor | int) -> None:
        n = float(model.n_averaged)  # stays on the CPU; ``taken`` would be fetched from the GPU
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averaged, live, taken)

    return average


def build_loss(config: LossConfig, survey: Survey) -> SegmentationLoss:
    """Build the loss with the class weights of the training images."""
    found = survey.splits['train']
    names = [entry.name for entry in survey.classes]
    if unknown := sorted(set(config.total_variation_classes) - set(names)):
        raise ValueError(f'total_variation_classes: no classes {unknown}; available: {names}')
    return SegmentationLoss(
        terms=config.terms,
        weights=torch.from_numpy(
            class_weights(config.class_weights, found.pixels, found.pixels_where_present)
        ),
        label_smoothing=config.label_smoothing,
        ohem_threshold=config.ohem_threshold,
        ohem_keep=config.ohem_keep,
        focal_gamma=config.focal_gamma,
        total_variation=config.total_variation,
        total_variation_channels=tuple(map(names.index, config.total_variation_classes)),
        aux_weight=config.aux_weight,
    )


def build_augmentation(config: TrainConfig) -> Augmentation:
    """Build the augmentation of a run."""
    return Augmentation(**to_mapping(config.augment))


def input_spec(config: TrainConfig, stage: StageConfig, logits_stride: int) -> InputSpec:
    """Input of the net in a stage: the deployed size times the scale, in whole logits."""
    rows, columns = (
        max(16, round(size * stage.scale / logits_stride) * logits_stride)
        for size in (config.height_px, config.width_px)
    )
    return InputSpec(rows, columns, logits_stride, *config.normalization)


def autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    """The arithmetic of a run as a context."""
    dtype = _DTYPES.get(config.precision)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


class Stage:
    """The training of one stage.

    Args:
        config: The run.
        number: Which of its stages.
        model: What is trained.
        loss: Built by ``build_loss``.
        steps: Steps of the stage.
        teacher: A net to learn from, if there is one.
        pace: Step -> how far the stage has come, 0 to 1; that of its steps when None.
    """

    def __init__(
        self,
        config: TrainConfig,
        number: int,
        model: Model,
        loss: SegmentationLoss,
        steps: int,
        teacher: Teacher | None = None,
        pace: Callable[[int], float] | None = None,
    ) -> None:
        self.config, self.number, self.model = config, number, model
        self.stage = config.stages[number]
        self.spec = input_spec(config, self.stage, model.net.logits_stride)
        self._pace = pace or (lambda step: min(step / steps, 1.0))
        self.loss = loss.to(model.device)
        self.teacher = teacher
        freeze(model.net, encoder=self.stage.frozen == 'encoder', norms=config.frozen_norms)
        options = config.optimizer
        self.optimizer: optim.Optimizer = build_optimizer(
            model.net,
            name=options.name,
            learning_rate=self.stage.learning_rate,
            weight_decay=options.weight_decay,
            decay_norms=options.decay_norms,
            momentum=options.momentum,
            encoder_factor=options.encoder_factor,
        )
        plan = config.schedule
        self.schedule = Schedule(plan.name, plan.warmup, plan.power, plan.floor, plan.cycles)
        self.plateau = Plateau(plan.factor, plan.patience, plan.floor)
        self.scaler = torch.amp.GradScaler(
            model.device.type, enabled=config.precision == 'float16'
        )
        mean, std = config.normalization
        self._mean = torch.tensor(mean, device=model.device).view(1, 3, 1, 1)
        self._std = torch.tensor(std, device=model.device).view(1, 3, 1, 1)
        padding = (np.round(np.asarray(mean) * 255) / 255).astype(np.float32)
        self._padding = torch.from_numpy(padding).to(model.device).view(3, 1, 1)
        runner: nn.Module = model.net
        if config.compile:
            runner = torch.compile(runner)  # type: ignore[assignment]
        if world_size() > 1:
            ids = [model.device.index] if model.device.type == 'cuda' else None
            # A net may have outputs without a loss; an unused weight would stall the others.
            runner = nn.parallel.DistributedDataParallel(
                runner, device_ids=ids, find_unused_parameters=True
            )
        self._runner = runner

    def learning_rate(self, step: int) -> float:
        """Rate at a step of the stage."""
        factor = self.schedule.factor(self._pace(step))
        if self.schedule.name == 'plateau':
            factor *= self.plateau.rate
        return self.stage.learning_rate * factor

    def train_step(self, batch: Batch, step: int, *, rate: float | None = None) -> Tensor:
        """One step of the optimiser.

        Args:
            batch: This process's images.
            step: Number of the step within the stage.
            rate: Learning rate; that of the schedule when None.

        Returns:
            The loss, detached, on the device.
        """
        options = self.config.optimizer
        rate = self.learning_rate(step) if rate is None else rate
        momentum = self.schedule.momentum(self._pace(step), options.momentum)
        set_rate(self.optimizer, rate, momentum)
        image, labels = self._to_input(batch)
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.model.device)
        parts = self.stage.accumulate
        for part, truth in zip(image.chunk(parts), labels.chunk(parts), strict=True):
            loss = self._loss_of(part, truth) * (len(part) / len(image))
            self.scaler.scale(loss).backward()
            total += loss.detach()
        if options.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.net.parameters(), options.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.model.average is not None:
            self.model.average.update_parameters(self.model.net)
        return total

    def _loss_of(self, image: Tensor, labels: Tensor) -> Tensor:
        full = self.config.loss.resolution == 'full'
        with autocast(self.config, self.model.device):
            with self._explaining_single_values(image):
                outputs = self._runner(image, full_resolution=full)
            loss = self.loss(outputs, labels)
            if self.teacher is not None:
                loss = loss + self.teacher.loss(image, outputs['logits'], labels)
        return loss

    @contextmanager
    def _explaining_single_values(self, image: Tensor) -> Iterator[None]:
        """Say which setting is wrong where a net pools one image to one value per channel."""
        try:
            yield
        except ValueError as error:
            if len(image) > 1 or 'more than 1 value per channel' not in str(error):
                raise
            raise ValueError(
                f'net {self.config.net} normalises over the images of a step and got one: '
                f'stages.{self.number}.batch_size={self.stage.batch_size} gives 1 image per '
                f'process and part (accumulate={self.stage.accumulate}). Use batch_size=2 or more '
                'and as many training images (times processes and parts), or frozen_norms=true '
                'with weights that are trained already'
            ) from error

    def _to_input(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Normalised images and labels on the device; padding is zero as in deployment."""
        device = self.model.device
        image = batch.image.to(device, non_blocking=True).float().div_(255)
        labels = batch.labels.to(device, non_blocking=True)
        image = apply_photometry(image, batch.photometry, batch.seeds)
        window = (image.shape[2], image.shape[3])
        for i, (rows, columns) in enumerate(batch.content_hw.tolist()):
            if (rows, columns) != window:
                image[i, :, rows:] = self._padding
                image[i, :, :, columns:] = self._padding
        image = image.sub_(self._mean).div_(self._std)
        if self.config.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        return image, labels
