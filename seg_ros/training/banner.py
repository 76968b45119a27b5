"""What a run is going to do, for the lines at its start."""

from __future__ import annotations

import torch

from seg_ros.training.phases import input_spec
from seg_ros.training.preparation import Run, batches_of


def total_steps(run: Run) -> int | None:
    """Steps of the whole run; None where the clock ends it."""
    if run.budget is not None:
        return None
    total = sum(_steps(run, number) for number in range(len(run.config.stages)))
    return min(total, run.config.max_steps or total)


def work_left(run: Run) -> float | None:
    """Steps to come, each counted by its pixels in steps of the stage that is under way."""
    progress, config = run.progress, run.config
    total = total_steps(run)
    if total is None:
        return None
    sizes = [_pixels(run, number) for number in range(len(config.stages))]
    done = sum(_steps(run, number) for number in range(progress.stage))
    left, work = total - progress.step, 0.0
    for number in range(progress.stage, len(config.stages)):
        begun = max(0, progress.step - done) if number == progress.stage else 0
        steps = min(left, max(0, _steps(run, number) - begun))
        work += steps * sizes[number] / sizes[progress.stage]
        left -= steps
    return work


def banner(run: Run) -> str:
    """Device, images, classes, parameters and stages in a few lines."""
    config = run.config
    images = ', '.join(f'{len(store)} for {name}' for name, store in run.stores.items())
    classes = ', '.join(f'{entry.id} {entry.name}' for entry in run.survey.classes)
    parameters = sum(weight.numel() for weight in run.model.net.parameters())
    lines = [
        f'run: {run.folder}',
        f'device: {_device_name(run.device)}, {config.precision}',
        f'images: {images}',
        f'classes: {classes}',
        f'net: {config.net}, {parameters / 1e6:.2f} million parameters, {config.optimizer.name}',
    ]
    if run.budget is not None:
        lines.append(f'time: {config.time_budget_min:g} min, {run.budget.left_s / 60:.0f} left')
    for number, stage in enumerate(config.stages):
        spec = input_spec(config, stage, run.model.net.logits_stride)
        batches = batches_of(run, number)
        epochs = f'{stage.epochs} epochs' if run.budget is None else 'epochs'
        lines.append(
            f'stage {number + 1}: {epochs} of {batches.steps_per_epoch} steps of '
            f'{batches.batch_size} images, {spec.height_px}x{spec.width_px} (rows x columns), '
            f'learning rate {stage.learning_rate:g}'
        )
    return '\n'.join(lines)


def _steps(run: Run, number: int) -> int:
    return run.config.stages[number].epochs * batches_of(run, number).steps_per_epoch


def _pixels(run: Run, number: int) -> int:
    spec = input_spec(run.config, run.config.stages[number], run.model.net.logits_stride)
    return batches_of(run, number).batch_size * spec.height_px * spec.width_px


def _device_name(device: torch.device) -> str:
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'{device.type}, {torch.get_num_threads()} threads'
