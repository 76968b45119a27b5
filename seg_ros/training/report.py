"""What is kept of a run for people: ``report/`` with scores, pictures and a page of them all."""

from __future__ import annotations

import base64
import csv
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seg_ros.metrics import Scores, boundary_f1
from seg_ros.model_card import ClassInfo, ModelCard
from seg_ros.result_files import write_atomically
from seg_ros.training.loader import ImageStore
from seg_ros.training.model_folder import load_trained
from seg_ros.training.pictures import (
    confusion_picture,
    history_picture,
    prediction_sheet,
    to_png,
)
from seg_ros.training.run_folder import plain, write_json
from seg_ros.training.validation import Validation, Validator

FOLDER = 'report'
MAX_BOUNDARY_IMAGES = 500


@dataclass(frozen=True)
class FinalScores:
    """The best checkpoint on the validation images.

    Attributes:
        validation: Scores over all images and per image.
        boundary_f1: Per class, mean over images; NaN for classes without a contour.
    """

    validation: Validation
    boundary_f1: np.ndarray

    def to_mapping(self, classes: Sequence[ClassInfo]) -> dict[str, Any]:
        """Plain values, NaN as None."""
        scores = self.validation.scores
        names = [entry.name for entry in classes]
        f1 = self.boundary_f1
        mapping = {
            'mean_iou': scores.mean_iou,
            'pixel_accuracy': scores.pixel_accuracy,
            'class_accuracy': scores.class_accuracy,
            'boundary_f1': float(np.nanmean(f1)) if not np.isnan(f1).all() else None,
            'images': len(self.validation.iou_of_image),
            'iou': dict(zip(names, scores.iou.tolist(), strict=True)),
        }
        cleaned: dict[str, Any] = plain(mapping)
        return cleaned


def write_report(
    run: Path,
    store: ImageStore,
    history: Sequence[dict[str, Any]],
    facts: Mapping[str, str],
    *,
    num_images: int = 6,
) -> dict[str, Any]:
    """Score the best checkpoint of a run once more and write ``<run>/report``.

    Args:
        run: The run folder.
        store: The validation images.
        history: Entries of ``Progress.history``.
        facts: What else the page says of the run.
        num_images: How many of the best and of the worst images are shown.

    Returns:
        The scores, for the model card.
    """
    net, card = load_trained(run)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    net.to(device)
    validator = Validator(store, card.input, card.num_classes, device)
    exact = torch.autocast(device.type, enabled=False)
    validation = validator.run(net, exact)
    order = sorted(
        (i for i, iou in validation.iou_of_image.items() if not np.isnan(iou)),
        key=validation.iou_of_image.__getitem__,
    )
    shown = {'worst': order[:num_images], 'best': order[::-1][:num_images]}
    contours = []
    sheets: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {'worst': [], 'best': []}
    step = max(1, len(store) // MAX_BOUNDARY_IMAGES)
    for position in sorted({*range(0, len(store), step), *shown['worst'], *shown['best']}):
        prediction = validator.predict(net, position, exact)
        image, labels = store[position]
        truth = labels.cpu().numpy()
        contours.append(boundary_f1(truth, prediction, card.num_classes))
        for kind, positions in shown.items():
            if position in positions:
                sheets[kind].append((image.permute(1, 2, 0).cpu().numpy(), truth, prediction))
    final = FinalScores(validation, _mean_of_columns(contours))
    pictures = {
        'curves': history_picture(history),
        'confusion': confusion_picture(validation.confusion, card.classes),
    }
    pictures |= {
        kind: prediction_sheet(rows, card.classes) for kind, rows in sheets.items() if rows
    }
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    scores = final.to_mapping(card.classes)
    write_json(folder / 'scores.json', scores)
    _write_class_table(folder / 'classes.csv', card, final)
    encoded = {name: to_png(picture) for name, picture in pictures.items()}
    for name, data in encoded.items():
        write_atomically(folder / f'{name}.png', data)
    names = {kind: [store.name(i) for i in positions] for kind, positions in shown.items()}
    page = _page(card, final, facts, encoded, names)
    # file names may be no UTF-8
    write_atomically(folder / 'index.html', page.encode('utf-8', 'backslashreplace'))
    return scores


def _mean_of_columns(rows: list[np.ndarray]) -> np.ndarray:
    stacked = np.stack(rows)
    counted = (~np.isnan(stacked)).sum(axis=0)
    total = np.nansum(stacked, axis=0)
    return np.where(counted, total / np.maximum(counted, 1), np.nan)


def _class_rows(card: ModelCard, final: FinalScores) -> list[list[str]]:
    scores: Scores = final.validation.scores
    columns = (
        scores.iou,
        scores.precision,
        scores.recall,
        scores.f1,
        final.boundary_f1,
        scores.pixels / max(1, scores.pixels.sum()),
    )
    return [
        [entry.name, *('' if np.isnan(column[i]) else f'{column[i]:.4f}' for column in columns)]
        for i, entry in enumerate(card.classes)
    ]


_HEADINGS = ('class', 'IoU', 'precision', 'recall', 'F1', 'boundary F1', 'share of pixels')


def _write_class_table(path: Path, card: ModelCard, final: FinalScores) -> None:
    with path.open('w', newline='', encoding='utf-8') as stream:
        csv.writer(stream).writerows([_HEADINGS, *_class_rows(card, final)])


def _page(
    card: ModelCard,
    final: FinalScores,
    run_facts: Mapping[str, str],
    pictures: dict[str, bytes],
    names: dict[str, list[str]],
) -> str:
    """One file that opens anywhere: the pictures are inside it."""
    scores = final.to_mapping(card.classes)
    head = ''.join(f'<th>{html.escape(text)}</th>' for text in _HEADINGS)
    body = ''.join(
        '<tr>' + ''.join(f'<td>{html.escape(cell)}</td>' for cell in row) + '</tr>'
        for row in _class_rows(card, final)
    )
    facts = {
        key: f'{scores[key]:.4f}'
        for key in ('mean_iou', 'pixel_accuracy', 'class_accuracy', 'boundary_f1')
        if scores[key] is not None
    }
    facts |= {'images': str(scores['images']), 'net': card.net, **run_facts}
    facts |= {key: str(value) for key, value in card.provenance.items()}
    lines = ''.join(
        f'<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>' for key, value in facts.items()
    )
    sections = ''
    for name, data in pictures.items():
        files = html.escape(', '.join(names.get(name, ())))
        source = base64.b64encode(data).decode()
        sections += f'<h2>{name}</h2><p>{files}</p>'
        sections += f'<img alt="{name}" src="data:image/png;base64,{source}">'
    title = html.escape(card.name)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<style>body{font:15px sans-serif;max-width:1320px;margin:2em auto;padding:0 1em}'
        'td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ccc}'
        'td:first-child,th:first-child{text-align:left}img{max-width:100%}'
        'dt{float:left;clear:left;width:11em;color:#555}dd{overflow-wrap:anywhere}</style>'
        f'<h1>{title}</h1><dl>{lines}</dl><h2>classes</h2>'
        f'<table><tr>{head}</tr>{body}</table>{sections}</html>\n'
    )
