"""What comes of a finished run: report, model folder, and where everything is."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg_ros.model_card import CARD_FILE
from seg_ros.training.checkpoint import BEST, FOLDER, load_checkpoint
from seg_ros.training.model_folder import export_run, free_model_folder
from seg_ros.training.report import FOLDER as REPORT_FOLDER
from seg_ros.training.report import write_report
from seg_ros.training.run_folder import CONFIG_FILE, write_json

if TYPE_CHECKING:
    from seg_ros.training.checkpoint import Checkpoint
    from seg_ros.training.preparation import Run

FILE = 'outcome.json'


@dataclass(frozen=True)
class Outcome:
    """A finished run in a few lines.

    Attributes:
        run: The run folder.
        weights: sha256 of the chosen weights.
        epoch: The epoch that they are from.
        epochs: How many there were.
        metric: What chose them.
        size_hw: Rows and columns of the net's input.
        wanted_hw: Those of the configuration; others where the run ended early.
        model: The model folder; empty without one.
    """

    run: str
    weights: str
    epoch: int
    epochs: int
    metric: str
    size_hw: tuple[int, int]
    wanted_hw: tuple[int, int]
    model: str = ''

    def facts(self) -> dict[str, str]:
        """Lines for the terminal and the report."""
        folder = Path(self.run)
        size, wanted = ('x'.join(map(str, each)) for each in (self.size_hw, self.wanted_hw))
        lines = {
            'run': self.run,
            'settings': str(folder / CONFIG_FILE),
            'checkpoint': f'{folder / FOLDER / BEST}.json, epoch {self.epoch} of {self.epochs} by '
            f'its {self.metric}',
            'input': f'{size} (rows x columns)',
            'report': str(folder / REPORT_FOLDER / 'index.html'),
        }
        if size != wanted:
            lines['input'] += (
                f'. The run ended in a stage of this size, before the last, {wanted}. For that: '
                f'python -m seg_ros export {shlex.quote(self.run)} <folder> --images <photos> '
                f'--size {wanted}'
            )
        if self.model:
            model = shlex.quote(f'model:={self.model}')
            start = f'segmentation_node --ros-args -p {model}'
            lines |= {
                'model': self.model,
                'run it with': f'ros2 run seg_ros {start}',
                'or, without ros2 run': f'python -m seg_ros {start}',
            }
        return lines


def conclude(done: Run) -> Outcome:
    """Write the model folder and the report of a finished run, and print where they are.

    A model folder that holds these very weights already is left as it is: what was added to it
    since, such as an int8 graph, is worth keeping.

    Raises:
        ValueError: If the exported graph does not compute what the net does; the report is there.
    """
    config, folder = done.config, done.folder
    best = load_checkpoint(folder, BEST)
    outcome, failure = _outcome_of(done, best), None
    if config.model_dir and not outcome.model:
        model = free_model_folder(Path(config.model_dir), config.name)
        try:
            export_run(folder, model, done.stores['val'], weights_dtype=config.weights_dtype)
            outcome = replace(outcome, model=str(model))
        except ValueError as error:
            failure = error
    write_json(folder / FILE, asdict(outcome))
    scores = write_report(
        folder,
        done.stores['val'],
        done.progress.history,
        outcome.facts(),
        num_images=config.report_images,
    )
    kind = 'validation' if config.holds_out else 'training'
    shown = 'mIoU unknown, nothing is labelled'
    if scores['mean_iou'] is not None:
        shown = f'mIoU {scores["mean_iou"]:.4f} on {scores["images"]} {kind} images'
    for name, value in {'score': shown, **outcome.facts()}.items():
        print(f'{name}: {value}')
    if failure is not None:
        raise ValueError(
            f'{failure}\nThe run is whole; python -m seg_ros export {shlex.quote(str(folder))} '
            '<folder> --images <photos> writes its model'
        ) from failure
    return outcome


def load_outcome(run: Path) -> dict[str, Any]:
    """Read what came of a run; empty where it is not finished."""
    path = run / FILE
    outcome: dict[str, Any] = json.loads(path.read_text('utf-8')) if path.is_file() else {}
    return outcome


def _outcome_of(done: Run, best: Checkpoint) -> Outcome:
    spec, weights = best.model['input'], best.files['weights'][1]
    stride, config = spec['logits_stride'], done.config
    before = load_outcome(done.folder)
    model = before.get('model', '') if before.get('weights') == weights else ''
    return Outcome(
        run=str(done.folder.absolute()),
        weights=weights,
        epoch=best.progress['epoch'],
        epochs=done.progress.epoch,
        metric=config.metric,
        size_hw=(spec['height_px'], spec['width_px']),
        wanted_hw=(_whole(config.height_px, stride), _whole(config.width_px, stride)),
        model=model if (Path(model) / CARD_FILE).is_file() else '',
    )


def _whole(pixels: int, stride: int) -> int:
    return max(1, round(pixels / stride)) * stride
