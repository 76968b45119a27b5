"""Everything before the first batch: device, images, their check, net, run folder."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seg_ros.model_card import CARD_FILE, load_model_card
from seg_ros.nets.deployed import load_net
from seg_ros.segmenter import find_model
from seg_ros.training import run_folder
from seg_ros.training.checkpoint import Checkpoint, load_checkpoint
from seg_ros.training.config import TrainConfig
from seg_ros.training.criterion import check_metric
from seg_ros.training.data_check import Survey, survey_splits
from seg_ros.training.display import Display, SilentDisplay
from seg_ros.training.distillation import Teacher, build_teacher
from seg_ros.training.distributed import rank, world_size
from seg_ros.training.loader import ImageStore, TrainingBatches
from seg_ros.training.phases import Model, build_augmentation, build_model, input_spec
from seg_ros.training.splits import Split, build_split
from seg_ros.training.state import Progress
from seg_ros.training.time_budget import TimeBudget

LOG = logging.getLogger(__name__)


@dataclass
class Run:
    """A run that is under way.

    Attributes:
        config: What was asked for.
        folder: Where everything is written.
        device: Where is trained.
        stores: Images by split.
        survey: What they hold.
        model: The net.
        teacher: A net that it learns from, if there is one.
        progress: How far it has come.
        provenance: For checkpoints and the card.
        display: What a person sees.
        budget: The time that it may take; None without a bound.
        saved_at: Monotonic time of the last checkpoint.
    """

    config: TrainConfig
    folder: Path
    device: torch.device
    stores: dict[str, ImageStore]
    survey: Survey
    model: Model
    teacher: Teacher | None
    progress: Progress
    provenance: dict[str, Any]
    display: Display
    budget: TimeBudget | None = None
    saved_at: float = field(default_factory=time.monotonic)


def pick_device(name: str) -> torch.device:
    """``auto`` is the GPU where there is one.

    Raises:
        ValueError: If ``cuda`` is asked for and there is none.
    """
    if name == 'cuda' and not torch.cuda.is_available():
        raise ValueError('device: cuda, but torch finds no GPU; use device=cpu')
    if name == 'cpu' or not torch.cuda.is_available():
        return torch.device('cpu')
    return torch.device('cuda', torch.cuda.current_device())


def prepare(
    config: TrainConfig, folder: Path, *, resume: Checkpoint | None = None, record: bool = True
) -> Run:
    """Read and check the data, build the net; everything before the first batch.

    Args:
        config: The run.
        folder: The run folder.
        resume: Where to go on; None for a new run.
        record: Whether a new run's folder is written.

    Raises:
        ValueError: If configuration or data are wrong; lists every broken file.
        FileNotFoundError: If data or weights are missing.
        FileExistsError: If a new run's folder holds a run.
    """
    progress = Progress(**resume.progress) if resume else Progress()
    budget = _budget(config, progress)
    device = pick_device(config.device)
    if config.deterministic:
        torch.use_deterministic_algorithms(mode=True)
    split = build_split(config, folder / run_folder.SPLITS_FILE if resume else None)
    stores = open_stores(split)
    survey = survey_splits(
        surveyed_stores(config, stores),
        keep=config.cache != 'none',
        max_images=config.check_images,
        allow_overlap=config.split.allow_overlap,
        allow_missing_classes=config.allow_missing_classes,
    )
    if survey.problems:
        listing = '\n  '.join(survey.problems)
        raise ValueError(f'the data must be mended before training:\n  {listing}')
    if rank() == 0:
        for warning in survey.warnings:
            LOG.warning('%s', warning)
    if config.cache == 'device':
        for store in stores.values():
            store.move_to(device)
    check_metric(config.metric, [entry.name for entry in survey.classes])
    model = build_model(config, len(survey.classes), device)
    teacher = build_teacher(config, survey.classes, device)
    provenance = resume.provenance if resume else {}
    if record and not resume and rank() == 0:
        images = {name: len(store) for name, store in stores.items()}
        provenance = run_folder.begin_run(folder, config, images)
        split.save(folder / run_folder.SPLITS_FILE)
        run_folder.write_json(folder / run_folder.CHECK_FILE, survey.to_mapping())
    if not resume and config.init_from:
        _start_from(Path(config.init_from), config, model.net)
    return Run(
        config,
        folder,
        device,
        stores,
        survey,
        model,
        teacher,
        progress,
        provenance,
        SilentDisplay(),
        budget,
    )


def _budget(config: TrainConfig, progress: Progress) -> TimeBudget | None:
    if not config.time_budget_min:
        return None
    return TimeBudget(
        config.time_budget_min,
        [plan.epochs * plan.scale**2 for plan in config.stages],
        spent_s=progress.spent_seconds,
        began_s=progress.began_seconds,
    )


def _start_from(source: Path, config: TrainConfig, net: nn.Module) -> None:
    """Give a net the weights of a checkpoint, of a model folder or of a model by its name."""
    if not source.exists():
        source = find_model(source)
    if (source / CARD_FILE).is_file():
        card = load_model_card(source)
        if card.net != config.net:
            raise ValueError(f'init_from: {source} holds a {card.net}, net is {config.net}')
        weights = load_net(card).net.state_dict()
    else:
        weights = load_checkpoint(source, 'best').load_tensors('weights')
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f'init_from: the weights of {source} are of a net with other classes or options: '
            f'{error}'
        ) from error


def open_stores(split: Split) -> dict[str, ImageStore]:
    """Training and validation images by split."""
    return {
        'train': ImageStore(split.train, split.train_indices),
        'val': ImageStore(split.val, split.val_indices),
    }


def surveyed_stores(config: TrainConfig, stores: dict[str, ImageStore]) -> dict[str, ImageStore]:
    """The stores to be checked: where nothing is held out, those of the training alone."""
    return stores if config.holds_out else {'train': stores['train']}


def batches_of(run: Run, number: int) -> TrainingBatches:
    """Training batches of a stage."""
    plan, config = run.config.stages[number], run.config
    stride = run.model.net.logits_stride
    spec = input_spec(config, plan, stride)
    red, green, blue = (round(value * 255) for value in config.normalization[0])
    return TrainingBatches(
        run.stores['train'],
        build_augmentation(config),
        (spec.height_px, spec.width_px),
        (red, green, blue),
        batch_size=plan.batch_size,
        seed=config.seed,
        rank=rank(),
        world_size=world_size(),
        workers=0 if config.cache == 'device' else config.workers,
    )
