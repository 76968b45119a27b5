"""What a person sees while a run goes on: progress bar, log lines, TensorBoard."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

LOG = logging.getLogger(__name__)
MEASURED_STEPS = 5  # from which the duration is estimated


class Display(Protocol):
    """What the loop tells of itself.

    Attributes:
        wants_pictures: Whether ``show_image`` is of use; pictures cost time.
    """

    wants_pictures: bool

    def begin_epoch(self, title: str) -> None:
        """An epoch starts or goes on."""

    def step(self, loss: float | None, rate: float, images: int) -> None:
        """A step of ``images`` images is done; the loss is given now and then."""

    def end_epoch(self, entry: dict[str, Any]) -> None:
        """An epoch is done; ``entry`` goes into the history."""

    def show_image(self, tag: str, image_hwc: np.ndarray, step: int) -> None:
        """A picture (H, W, 3) uint8 RGB for TensorBoard."""

    def close(self) -> None:
        """Nothing more comes."""


class SilentDisplay:
    """Tells nobody: for processes other than the first, and for tests."""

    wants_pictures = False

    def begin_epoch(self, title: str) -> None:
        """See ``Display``."""

    def step(self, loss: float | None, rate: float, images: int) -> None:
        """See ``Display``."""

    def end_epoch(self, entry: dict[str, Any]) -> None:
        """See ``Display``."""

    def show_image(self, tag: str, image_hwc: np.ndarray, step: int) -> None:
        """See ``Display``."""

    def close(self) -> None:
        """See ``Display``."""


class TerminalDisplay:
    """Bar on the terminal, scalars and pictures for TensorBoard.

    Args:
        folder: Of TensorBoard's event files; None for none.
        total_steps: Steps of the whole run, for the time that is left; None if they are unknown.
        done_steps: Steps of it that are done.
        work: How many steps as large as the next ones are left; None if that is unknown.
    """

    def __init__(
        self,
        folder: Path | None,
        total_steps: int | None,
        done_steps: int,
        work: float | None = None,
    ) -> None:
        self._work, self._steps, self._began = work, 0, 0.0
        self._writer: Any = None
        self.wants_pictures = folder is not None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (slow to import)

            self._writer = SummaryWriter(str(folder))
        self._bar = tqdm(
            total=total_steps,
            initial=done_steps,
            unit='step',
            dynamic_ncols=True,
            smoothing=0.05,
            disable=None,  # only on a terminal
            file=sys.stderr,
        )
        self._images, self._loss = 0, ''

    def begin_epoch(self, title: str) -> None:
        """See ``Display``."""
        self._bar.set_description(title, refresh=False)

    def step(self, loss: float | None, rate: float, images: int) -> None:
        """See ``Display``."""
        self._images += images
        self._tell_duration()
        if loss is not None:
            self._loss = f'loss {loss:.3f} '
        speed = self._bar.format_dict['rate'] or 0.0
        self._bar.set_postfix_str(
            f'{self._loss}lr {rate:.1e} {speed * images:.1f} img/s', refresh=False
        )
        self._bar.update()

    def _tell_duration(self) -> None:
        """Once, after the first steps; the very first one also makes buffers ready."""
        self._steps += 1
        if self._steps == 1:
            self._began = time.monotonic()
        elif self._work is not None and self._steps == MEASURED_STEPS + 1:
            seconds = (time.monotonic() - self._began) / MEASURED_STEPS
            with logging_redirect_tqdm():
                LOG.info(
                    'expected duration: about %s of training, and the validations',
                    _duration(seconds * max(0.0, self._work - self._steps)),
                )

    def end_epoch(self, entry: dict[str, Any]) -> None:
        """See ``Display``."""
        score, loss = entry.get('mean_iou'), entry.get('val_loss')
        with logging_redirect_tqdm():
            LOG.info(
                'epoch %d: loss %.4f%s, lr %.2e, %.1f img/s, loader %.1f %%',
                entry['epoch'],
                entry['loss'],
                '' if score is None else f', val mIoU {score:.4f}, val loss {loss:.4f}',
                entry['learning_rate'],
                entry['images_per_s'],
                100 * entry['loader_share'],
            )
        if self._writer is not None:
            for key, value in entry.items():
                if isinstance(value, float):
                    self._writer.add_scalar(_group(key), value, entry['step'])
            for name, value in entry.get('iou', {}).items():
                if value is not None:
                    self._writer.add_scalar(f'iou/{name}', value, entry['step'])
            self._writer.flush()

    def show_image(self, tag: str, image_hwc: np.ndarray, step: int) -> None:
        """See ``Display``."""
        if self._writer is not None:
            self._writer.add_image(tag, image_hwc, step, dataformats='HWC')

    def close(self) -> None:
        """See ``Display``."""
        self._bar.close()
        if self._writer is not None:
            self._writer.close()


def _duration(seconds: float) -> str:
    """Seconds for people: ``3 h 20 min``."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f'{round(seconds)} s'
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes} min' if hours else f'{minutes} min'


def _group(key: str) -> str:
    scores = ('mean_iou', 'pixel_accuracy', 'class_accuracy', 'weighted_iou', 'val_loss')
    return f'val/{key}' if key in scores else f'train/{key}'
