"""The report as data: one JSON document, the same content as the page (docs/report_schema.md)."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seg_ros.evaluation.examples import Example, Kind
from seg_ros.evaluation.machine import describe_machine
from seg_ros.evaluation.scoring import Scoring, percentiles
from seg_ros.model_card import ModelCard
from seg_ros.result_files import write_text

SCHEMA = 1
# Everything else is equal for equal input.
MEASURED_KEYS = ('latency_ms', 'timing', 'machine', 'created')
_DIGITS = 10


@dataclass(frozen=True)
class Report:
    """One model on one run of frames.

    Attributes:
        content: The JSON document.
        examples: Pictures for the page.
    """

    content: dict[str, Any]
    examples: Mapping[Kind, Sequence[Example]]

    @property
    def title(self) -> str:
        """Model, engine and, where it is known, precision."""
        precision = self.content['timing'].get('precision', '')
        return f'{self.content["model"]} in {self.content["backend"]} {precision}'.rstrip()


@dataclass(frozen=True)
class Comparison:
    """Several reports of the same frames.

    Attributes:
        reports: At least two.
        differences: Frames where the first two differ most, the worst first.
    """

    reports: tuple[Report, ...]
    differences: tuple[Example, ...]

    @property
    def content(self) -> dict[str, Any]:
        """The JSON document: whole reports, and what differs."""
        return {
            'schema': SCHEMA,
            'kind': 'comparison',
            'reports': [report.content for report in self.reports],
            'differences': [
                {'frame': entry.name, 'share_of_pixels': plain(entry.value)}
                for entry in self.differences
            ],
        }


def build_report(
    scoring: Scoring,
    *,
    model: str,
    backend: str,
    source: Mapping[str, Any],
    card: ModelCard | None = None,
    timing: Mapping[str, Any] | None = None,
    examples: Mapping[Kind, Sequence[Example]] | None = None,
) -> Report:
    """Put the document together.

    Args:
        scoring: What was added up.
        model: Name of the model.
        backend: Name of the engine.
        source: What was evaluated, as plain values.
        card: The model card, where it is at hand.
        timing: More measured values than the latency of each frame.
        examples: Frames worth looking at.
    """
    examples = examples or {}
    content: dict[str, Any] = {
        'schema': SCHEMA,
        'kind': 'report',
        'model': model,
        'backend': backend,
        'source': dict(source),
        **_counts(scoring),
        'skipped': scoring.skips.to_json(),
        'class_colors': [list(entry.color) for entry in scoring.classes],
        **_score_keys(scoring),
        'calibration': _calibration(scoring),
        'shares': _by_class(scoring, scoring.shares.mean(axis=0) if scoring.frames else None),
        'examples': {
            kind: [{'frame': e.name, 'value': e.value} for e in chosen]
            for kind, chosen in examples.items()
        },
        'per_frame': _per_frame(scoring),
        'model_card': _card(card) if card else None,
        'latency_ms': percentiles(scoring.latencies_ms),
        'timing': {
            **(timing or {}),
            'per_frame_ms': _short(scoring.latencies_ms),
            'dropped_at_s': scoring.dropped_s,
        },
        'machine': describe_machine(),
        'created': dt.datetime.now(dt.timezone.utc).isoformat(timespec='seconds'),
    }
    return Report(plain(content), examples)


def headline(scoring: Scoring) -> dict[str, Any]:
    """The counts, scores and latency so far, without what grows with the frames."""
    content = {
        **_counts(scoring),
        **_score_keys(scoring),
        'latency_ms': percentiles(scoring.latencies_ms),
    }
    return dict(plain(content))


def save_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a document; numbers that do not exist are null.

    Raises:
        ValueError: If the file cannot be written.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + '\n')


def plain(value: Any) -> Any:
    """Turn numpy values into Python's, round to 10 digits, and make NaN null."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(entry) for entry in value]
    if isinstance(value, (float, np.floating)):
        return None if math.isnan(value) else round(float(value), _DIGITS)
    return int(value) if isinstance(value, np.integer) else value


def _counts(scoring: Scoring) -> dict[str, Any]:
    return {
        'frames': scoring.frames,
        'scored': scoring.scored,
        'dropped': len(scoring.dropped_s),
        'classes': [entry.name for entry in scoring.classes],
    }


def _score_keys(scoring: Scoring) -> dict[str, Any]:
    """The scores; null for all of them where nothing was scored."""
    scores, boundary = scoring.scores, scoring.boundary
    contour = math.nan if np.isnan(boundary).all() else float(np.nanmean(boundary))
    return {
        'iou': _by_class(scoring, scores.iou),
        'precision': _by_class(scoring, scores.precision),
        'recall': _by_class(scoring, scores.recall),
        'f1': _by_class(scoring, scores.f1),
        'boundary_f1': _by_class(scoring, boundary),
        'pixels': _by_class(scoring, scores.pixels),
        'miou': scores.mean_iou,
        'pixel_accuracy': scores.pixel_accuracy,
        'class_accuracy': scores.class_accuracy,
        'weighted_iou': scores.weighted_iou,
        'mean_boundary_f1': contour,
        'confusion': scoring.matrix,
    }


def _by_class(scoring: Scoring, values: Any) -> dict[str, Any]:
    if values is None:
        return {}
    return {entry.name: values[i] for i, entry in enumerate(scoring.classes)}


def _calibration(scoring: Scoring) -> dict[str, Any]:
    calibration = scoring.calibration
    return {
        'ece': calibration.expected_calibration_error(),
        'pixels': calibration.pixels,
        'bins': [
            {
                'low': entry.low,
                'high': entry.high,
                'confidence': entry.confidence,
                'accuracy': entry.accuracy,
                'pixels': entry.pixels,
            }
            for entry in calibration.bins()
        ],
    }


def _per_frame(scoring: Scoring) -> dict[str, Any]:
    shares = scoring.shares
    columns = {
        'time_s': scoring.times_s,
        'miou': scoring.mious,
        'pixel_accuracy': scoring.accuracies,
        'confidence': scoring.confidences,
    }
    return {
        'name': scoring.names,
        **{key: _short(values) for key, values in columns.items()},
        'shares': {entry.name: _short(shares[:, i]) for i, entry in enumerate(scoring.classes)},
    }


def _short(values: Any) -> list[float]:
    """Six digits are enough for a curve."""
    return [round(float(value), 6) for value in values]


def _card(card: ModelCard) -> dict[str, Any]:
    return {
        'name': card.name,
        'net': card.net,
        'input': f'{card.input.width_px}x{card.input.height_px}',
        'temperature': card.temperature,
        'classes': [
            {'id': entry.id, 'name': entry.name, 'color': list(entry.color)}
            for entry in card.classes
        ],
        'files': dict(card.files),
        'scores': card.scores,
        'provenance': card.provenance,
    }
