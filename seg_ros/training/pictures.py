"""Pictures of a run: curves, confusion matrix, IoU per class, predictions beside the truth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from seg_ros.model_card import ClassInfo
from seg_ros.overlay import colorize, contact_sheet, palette

_DPI = 100


def history_picture(history: Sequence[dict[str, Any]]) -> np.ndarray:
    """Curves of loss, validation scores and learning rate over the epochs.

    Args:
        history: Entries of ``Progress.history``.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    figure = Figure(figsize=(9, 8), layout='constrained')
    loss, score, rate = figure.subplots(3, 1, sharex=True)
    epochs = [entry['epoch'] for entry in history]
    scored = [entry for entry in history if 'mean_iou' in entry]
    at = [entry['epoch'] for entry in scored]
    loss.plot(epochs, [entry['loss'] for entry in history], label='training')
    val_losses = [_number(entry.get('val_loss')) for entry in scored]
    loss.plot(at, val_losses, marker='.', label='validation (cross entropy)')
    loss.set_ylabel('loss')
    loss.legend(loc='upper right')
    for key, label in (('mean_iou', 'mIoU'), ('pixel_accuracy', 'pixel accuracy')):
        score.plot(at, [_number(entry[key]) for entry in scored], marker='.', label=label)
    score.set_ylabel('validation')
    score.set_ylim(0, 1)
    score.legend(loc='lower right')
    rate.plot(epochs, [entry['learning_rate'] for entry in history], color='tab:green')
    rate.set_ylabel('learning rate')
    rate.set_xlabel('epoch')
    for axes in (loss, score, rate):
        axes.grid(alpha=0.3)
        for before, entry in itertools.pairwise(history):
            if entry['stage'] != before['stage']:
                axes.axvline(entry['epoch'] - 0.5, color='grey', linestyle=':')
    return _to_array(figure)


def confusion_picture(confusion: np.ndarray, classes: Sequence[ClassInfo]) -> np.ndarray:
    """Confusion matrix in percent of each true class.

    Args:
        confusion: (C, C + 1) as ``metrics.confusion_matrix`` gives it.
        classes: Of the rows.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    counts = confusion[:, : len(classes)].astype(np.float64)
    share = 100 * counts / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    names = [entry.name for entry in classes]
    side = max(4.0, 0.55 * len(names) + 2)
    figure = Figure(figsize=(side, side), layout='constrained')
    axes = figure.subplots()
    axes.imshow(share, cmap='Blues', vmin=0, vmax=100)
    axes.set_xticks(range(len(names)), names, rotation=60, ha='right')
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel('predicted')
    axes.set_ylabel('true, % of each class')
    for row, column in np.ndindex(share.shape):
        if share[row, column] >= 0.5:
            color = 'white' if share[row, column] > 60 else 'black'
            text = f'{share[row, column]:.0f}'
            axes.text(column, row, text, ha='center', va='center', color=color, fontsize=8)
    return _to_array(figure)


def range_test_picture(
    rates: Sequence[float], losses: Sequence[float], suggestion: float
) -> np.ndarray:
    """Loss over learning rate with the suggested value; (H, W, 3) uint8 RGB."""
    figure = Figure(figsize=(8, 5), layout='constrained')
    axes = figure.subplots()
    axes.plot(rates, losses)
    axes.axvline(suggestion, color='tab:red', label=f'suggested {suggestion:.2e}')
    axes.set_xscale('log')
    axes.set_xlabel('learning rate')
    axes.set_ylabel('smoothed loss')
    axes.grid(alpha=0.3)
    axes.legend()
    return _to_array(figure)


def prediction_sheet(
    rows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], classes: Sequence[ClassInfo]
) -> np.ndarray:
    """Image, truth, prediction and errors of some images.

    Args:
        rows: Image (H, W, 3) uint8 RGB, truth and prediction (H, W) uint8 channels each.
        classes: In the order of the channels.

    Returns:
        (H', W', 3) uint8 RGB; errors are red, void is black.
    """
    channels = [
        ClassInfo(channel, entry.name, entry.color) for channel, entry in enumerate(classes)
    ]
    colors = palette(channels)
    cells = []
    for image, truth, prediction in rows:
        wrong = np.where(
            (truth != prediction)[..., None], np.array([220, 30, 30], np.uint8), image // 3
        )
        wrong[truth == 255] = 0
        cells.append([image, colorize(truth, colors), colorize(prediction, colors), wrong])
    return contact_sheet(cells, ('image', 'truth', 'prediction', 'errors'), channels)


def to_png(image_hwc: np.ndarray) -> bytes:
    """Encode (H, W, 3) uint8 RGB."""
    done, data = cv2.imencode('.png', np.ascontiguousarray(image_hwc[:, :, ::-1]))
    assert done
    return bytes(data)


def _to_array(figure: Figure) -> np.ndarray:
    figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def _number(value: float | None) -> float:
    return math.nan if value is None else value
