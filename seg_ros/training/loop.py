"""The training run, from the first read image to the last checkpoint."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from seg_ros.training import run_folder
from seg_ros.training.banner import banner, total_steps, work_left
from seg_ros.training.checkpoint import (
    FOLDER,
    Checkpoint,
    CheckpointError,
    save_checkpoint,
)
from seg_ros.training.config import TrainConfig
from seg_ros.training.criterion import is_reached, score_of
from seg_ros.training.display import TerminalDisplay
from seg_ros.training.distributed import any_process, rank, sum_over_processes, world_size
from seg_ros.training.interrupt import Interrupt
from seg_ros.training.loader import Batch, TrainingBatches
from seg_ros.training.model_folder import model_facts
from seg_ros.training.phases import (
    Stage,
    autocast,
    build_loss,
)
from seg_ros.training.preparation import Run, batches_of, prepare
from seg_ros.training.state import (
    deployed_weights,
    from_tensors,
    remember,
    to_tensors,
)
from seg_ros.training.validation import Validation, Validator

LOG = logging.getLogger(__name__)
LOSS_EVERY = 10  # steps between looks at the loss: each look waits for the device


def train(
    config: TrainConfig,
    folder: Path,
    *,
    resume: Checkpoint | None = None,
    quiet: bool = False,
) -> Run:
    """Train, or go on with a run that stopped.

    Args:
        config: The run; for a resumed one that of its folder.
        folder: The run folder.
        resume: Where to go on; None for a new run.
        quiet: Without bar and TensorBoard.

    Returns:
        The run; its ``progress.finished`` is false after SIGTERM or Ctrl-C.

    Raises:
        ValueError: If configuration or data are wrong.
        FileNotFoundError: If data or weights are missing.
        FileExistsError: If a new run's folder holds a run.
        CheckpointError: If a checkpoint cannot be written or read.
    """
    run = prepare(config, folder, resume=resume)
    if rank() == 0 and not quiet:
        LOG.info('%s', banner(run))
        run.display = TerminalDisplay(
            folder / 'tensorboard', total_steps(run), run.progress.step, work_left(run)
        )
    with Interrupt() as interrupt:
        try:
            for number in range(run.progress.stage, len(config.stages)):
                if number != run.progress.stage:
                    same_scale = config.stages[number].scale == config.stages[number - 1].scale
                    run.progress.begin_stage(number, keep_best=same_scale)
                stopped = _train_stage(run, number, interrupt, resume)
                resume = None
                if run.progress.finished or stopped:
                    break
        finally:
            run.display.close()
    return run


def _train_stage(run: Run, number: int, interrupt: Interrupt, resume: Checkpoint | None) -> bool:
    """Train one stage to its end; whether an interrupt came, with everything saved."""
    config, progress, plan = run.config, run.progress, run.config.stages[number]
    batches = batches_of(run, number)
    steps = plan.epochs * batches.steps_per_epoch
    criterion = build_loss(config.loss, run.survey)
    stage = Stage(config, number, run.model, criterion, steps, run.teacher, _pace(run, number))
    validator = Validator(
        run.stores['val'],
        stage.spec,
        len(run.survey.classes),
        run.device,
        weights=criterion.weights,
    )
    _begin_budget(run, validator)
    if resume is not None:
        state, weights = resume.load_tensors('state'), resume.load_tensors('weights')
        from_tensors(run.model, stage, progress, state, weights)
    source = batches.read(progress.epoch, progress.epoch_step)
    # Within a time budget a stage makes a step even if it begins too late, to have an end.
    late = run.budget is None and _over(run, stage)
    while not late and not progress.finished and not _waited(run):
        run.display.begin_epoch(_title(run, stage))
        entry = _train_epoch(run, stage, batches, source, interrupt)
        if entry is None or _end_epoch(run, stage, validator, entry, interrupt):
            return True
        late = _over(run, stage)
    return False


def _pace(run: Run, number: int) -> Callable[[int], float] | None:
    """How far a stage has come by the clock, the same in all processes; None without a budget."""
    budget = run.budget
    if budget is None:
        return None
    return lambda _: _mean_over_processes(budget.progress(number), run.device)


def _begin_budget(run: Run, validator: Validator) -> None:
    """Find out how long a validation takes, on one image, before the clock sets the rate."""
    if run.budget is None:
        return
    for _ in range(2):  # the first run of a net takes longer
        asked = time.monotonic()
        validator.predict(run.model.deployed, 0, autocast(run.config, run.device))
        seconds = time.monotonic() - asked
    run.budget.note_validation(seconds * len(run.stores['val']) / world_size())
    run.budget.begin()


def _over(run: Run, stage: Stage) -> bool:
    """Whether the stage has had its epochs, or its time where there is a budget."""
    if run.budget is None:
        return run.progress.stage_epoch >= stage.stage.epochs
    return _mean_over_processes(run.budget.progress(stage.number), run.device) >= 1


def _title(run: Run, stage: Stage) -> str:
    stages, epoch = len(run.config.stages), run.progress.stage_epoch + 1
    title = f'stage {stage.number + 1}/{stages} epoch {epoch}'
    if run.budget is None:
        return f'{title}/{stage.stage.epochs}'
    return f'{title}, {run.budget.left_s / 60:.0f} min left'


def _train_epoch(
    run: Run,
    stage: Stage,
    batches: TrainingBatches,
    source: Iterator[Batch],
    interrupt: Interrupt,
) -> dict[str, Any] | None:
    """Train to the end of the epoch; its entry in the history, None after an interrupt."""
    progress, per_epoch = run.progress, batches.steps_per_epoch
    started, waited, began = time.perf_counter(), 0.0, progress.epoch_step
    loss_sum = torch.zeros((), dtype=torch.float64, device=run.device)
    shown_at = progress.step + 1  # a person wants to see the first loss at once
    stop = over = False
    while progress.epoch_step < per_epoch and not over and not stop:
        asked = time.perf_counter()
        batch = next(source)
        waited += time.perf_counter() - asked
        at = progress.stage_epoch * per_epoch + progress.epoch_step
        loss = stage.train_step(batch, at)
        loss_sum += loss
        progress.step += 1
        progress.epoch_step += 1
        progress.images += batches.batch_size
        shown = None
        if progress.step % LOSS_EVERY == 0 or progress.step == shown_at:
            shown = float(loss)
            _refuse_divergence(shown, run)
        run.display.step(shown, stage.learning_rate(at), batches.batch_size)
        over = bool(run.config.max_steps) and progress.step >= run.config.max_steps
        over = over or (run.budget is not None and _over(run, stage))
        stop = any_process(interrupt.requested, run.device)
        late = time.monotonic() - run.saved_at > 60 * run.config.checkpoint_minutes
        if stop or any_process(late, run.device):
            progress.loss_sum += float(loss_sum)
            loss_sum.zero_()
            _save(run, stage, None)
    seconds = max(time.perf_counter() - started, 1e-9)
    progress.seconds += seconds
    if stop:
        return None
    loss_mean = (progress.loss_sum + float(loss_sum)) / progress.epoch_step
    _refuse_divergence(loss_mean, run)
    at = progress.stage_epoch * per_epoch + progress.epoch_step - 1
    return {
        'stage': stage.number,
        'epoch': progress.epoch + 1,
        'step': progress.step,
        'loss': _mean_over_processes(loss_mean, run.device),
        'learning_rate': stage.learning_rate(at),
        'images_per_s': (progress.epoch_step - began) * batches.batch_size / seconds,
        'loader_share': waited / seconds,
    }


def _end_epoch(
    run: Run, stage: Stage, validator: Validator, entry: dict[str, Any], interrupt: Interrupt
) -> bool:
    """Validate, judge and save; whether an interrupt came meanwhile."""
    progress, config = run.progress, run.config
    progress.epoch, progress.stage_epoch = progress.epoch + 1, progress.stage_epoch + 1
    progress.epoch_step, progress.loss_sum = 0, 0.0
    over = bool(config.max_steps) and progress.step >= config.max_steps
    ends = over or _over(run, stage)
    place = None
    if ends or progress.stage_epoch % config.validate_every == 0:
        asked = time.monotonic()
        validation = validator.run(run.model.deployed, autocast(config, run.device))
        if run.budget is not None:
            run.budget.note_validation(time.monotonic() - asked)
        place = _judge(run, stage, validation, entry)
        ends = ends or _over(run, stage)
        if place == 0 and run.display.wants_pictures:
            _show(run, validator, validation)
    progress.history.append(entry)
    ends = ends or _waited(run)
    last_stage = stage.number + 1 == len(config.stages)
    progress.finished = over or _reached(run) or (ends and last_stage)
    stop = any_process(interrupt.requested, run.device)
    due = progress.stage_epoch % config.checkpoint_every == 0 or stop or _kept(run)
    if due or ends or progress.finished or place is not None:
        _save(run, stage, place)
    run.display.end_epoch(entry)
    return stop


def _kept(run: Run) -> bool:
    every, progress = run.config.keep_every, run.progress
    return bool(every) and progress.epoch % every == 0 and progress.epoch_step == 0


def _judge(run: Run, stage: Stage, validation: Validation, entry: dict[str, Any]) -> int | None:
    """Take a validation into entry and progress; the place among the best, None for none."""
    scores, progress = validation.scores, run.progress
    names = [each.name for each in run.survey.classes]
    entry |= {
        'mean_iou': scores.mean_iou,
        'pixel_accuracy': scores.pixel_accuracy,
        'class_accuracy': scores.class_accuracy,
        'weighted_iou': scores.weighted_iou,
        'val_loss': validation.loss,
        'iou': run_folder.plain(dict(zip(names, scores.iou.tolist(), strict=True))),
    }
    score = score_of(entry, run.config.metric)
    stage.plateau.observe(score)
    place = sum(score <= kept for kept in progress.best)
    progress.waited = 0 if place == 0 else progress.waited + 1
    if place >= run.config.keep_best:
        return None
    progress.best = [*progress.best[:place], score, *progress.best[place:]][: run.config.keep_best]
    return place


def _show(run: Run, validator: Validator, validation: Validation) -> None:
    """Predictions and confusion matrix for TensorBoard, whenever the score is the best so far."""
    from seg_ros.training.pictures import (  # noqa: PLC0415 (matplotlib, which not all have)
        confusion_picture,
        prediction_sheet,
    )

    store, classes, step = run.stores['val'], run.survey.classes, run.progress.step
    rows = []
    for position in range(0, len(store), max(1, len(store) // 4))[:4]:
        prediction = validator.predict(
            run.model.deployed, position, autocast(run.config, run.device)
        )
        image, labels = store[position]
        rows.append((image.permute(1, 2, 0).cpu().numpy(), labels.cpu().numpy(), prediction))
    run.display.show_image('val/predictions', prediction_sheet(rows, classes), step)
    confusion = confusion_picture(validation.confusion, classes)
    run.display.show_image('val/confusion', confusion, step)


def _waited(run: Run) -> bool:
    return bool(run.config.patience) and run.progress.waited >= run.config.patience


def _reached(run: Run) -> bool:
    """Whether the target is reached, at the size that is deployed in the end."""
    config, progress = run.config, run.progress
    if config.stages[progress.stage].scale != config.stages[-1].scale or not progress.best:
        return False
    return is_reached(progress.best[0], config.target_score, config.metric)


def _save(run: Run, stage: Stage, place: int | None) -> None:
    """Write a checkpoint; the first process does, all fail together."""
    remember(run.progress, stage)
    if run.budget is not None:
        run.progress.spent_seconds = run.budget.spent_s
        run.progress.began_seconds = run.budget.began_s
    weights, failure = deployed_weights(run.model), ''
    if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
        _refuse_divergence(math.nan, run)  # a loss of before the last step does not show it
    if rank() == 0:
        entry = run.progress.history[-1] if run.progress.history else {}
        try:
            save_checkpoint(
                run.folder / FOLDER,
                step=run.progress.step,
                weights=weights,
                state=to_tensors(run.model, stage),
                model=model_facts(run.config, run.survey.classes, stage.spec),
                scores=_scores_of(entry, run.config),
                provenance=run.provenance,
                progress=run_folder.plain(run.progress.to_mapping()),
                best_place=place,
                keep_best=run.config.keep_best,
                keep_as=f'epoch_{run.progress.epoch:05d}' if _kept(run) else '',
            )
            run_folder.write_json(run.folder / run_folder.HISTORY_FILE, run.progress.history)
        except (CheckpointError, OSError) as error:
            failure = str(error)
    run.saved_at = time.monotonic()
    if any_process(bool(failure), run.device):
        raise CheckpointError(failure or 'the first process could not write its checkpoint')


def _scores_of(entry: dict[str, Any], config: TrainConfig) -> dict[str, Any]:
    """Validation scores of an epoch as a model card has them: data set -> metric -> value."""
    if 'mean_iou' not in entry or not config.holds_out:
        return {}
    keys = ('mean_iou', 'pixel_accuracy', 'class_accuracy', 'iou')
    data_set = f'{config.val_dataset or config.dataset}_val'
    return {data_set: run_folder.plain({key: entry[key] for key in keys})}


def _refuse_divergence(loss: float, run: Run) -> None:
    if not math.isfinite(loss):
        raise CheckpointError(
            f'the loss is {loss} at step {run.progress.step}: lower the learning rate '
            '(find-lr suggests one), clip gradients (optimizer.clip_norm=1) or use '
            'precision=bfloat16 instead of float16. The checkpoints before are whole.'
        )


def _mean_over_processes(value: float, device: torch.device) -> float:
    total = sum_over_processes(torch.tensor(value, dtype=torch.float64, device=device))
    return float(total) / world_size()
