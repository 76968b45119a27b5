"""Offline evaluation: every frame of a source through one or several segmenters."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from seg_ros.evaluation.examples import Examples, example
from seg_ros.evaluation.frames import Frame, FrameSource
from seg_ros.evaluation.recording import PredictionTopics
from seg_ros.evaluation.report import Comparison, Report, build_report
from seg_ros.evaluation.scoring import Scoring
from seg_ros.image import CameraImage
from seg_ros.model_card import ClassInfo
from seg_ros.segmenter import Segmentation, Segmenter, Timings

_LATENCY_IS = (
    'Preprocessing, inference and postprocessing of one image, without decoding it; one frame '
    'after the other.'
)


class _Run:
    """One segmenter on its way through the frames."""

    def __init__(self, segmenter: Segmenter, scoring: Scoring, *, has_truth: bool) -> None:
        self.segmenter = segmenter
        self._has_truth = has_truth
        self.scoring = scoring
        self.examples = Examples()
        self._stages: list[Timings] = []

    def take(self, frame: Frame, image_rgb: np.ndarray, min_confidence: float) -> Segmentation:
        result = self.segmenter.segment(
            frame.image.pixels, frame.image.order, min_confidence=min_confidence
        )
        assert result.confidence is not None
        self._stages.append(result.timings)
        miou = self.scoring.add(
            frame.name,
            result.labels,
            truth_hw=frame.truth,
            confidence_hw=result.confidence,
            latency_ms=result.timings.total_ms,
            time_s=frame.time_s,
        )
        value = miou if self._has_truth else float(result.confidence.mean()) / 255
        picture = None
        if self.examples.wants(value):
            shown = [('prediction', result.labels)]
            picture = example(
                frame.name, value, image_rgb, frame.truth, shown, self.scoring.classes
            )
        self.examples.add(value, picture)
        return result

    def report(self, source: FrameSource, seconds: float) -> Report:
        stages = {
            f'{stage}_p50_ms': float(np.median([getattr(t, f'{stage}_ms') for t in self._stages]))
            for stage in ('preprocess', 'inference', 'postprocess')
            if self._stages
        }
        backend = self.segmenter.backend
        return build_report(
            self.scoring,
            model=self.segmenter.card.name,
            backend=backend.name,
            source=source.description,
            card=self.segmenter.card,
            timing={
                'latency_is': _LATENCY_IS,
                'device': backend.device,
                'precision': backend.precision,
                **stages,
                'duration_s': seconds,
            },
            examples=self.examples.chosen(),
        )


def evaluate(
    source: FrameSource,
    segmenters: Sequence[Segmenter],
    *,
    void_ids: Iterable[int] = (),
    min_confidence: float = 0.0,
    with_boundary: bool = True,
    predictions: PredictionTopics | None = None,
    with_progress: bool = True,
) -> Report | Comparison:
    """Segment and score every frame of a source.

    Frames are streamed: what stays in memory per frame is its name and a few numbers.

    Args:
        source: Dataset or bag.
        segmenters: One, or several with the same classes to be compared.
        void_ids: Ids of the truth that are void beside 255.
        min_confidence: Probability below which a pixel becomes void.
        with_boundary: Whether to compute the boundary F1.
        predictions: Where the results of the first segmenter are recorded.
        with_progress: Whether to show a progress bar on stderr.

    Returns:
        A report, or a comparison of several segmenters.

    Raises:
        ValueError: If classes differ, no frame could be read, or there is truth and none of it
            could be used.
    """
    classes = segmenters[0].card.classes
    _check_same_classes(classes, segmenters)
    ids = tuple(void_ids)
    runs = [
        _Run(
            segmenter,
            Scoring(classes, void_ids=ids, with_boundary=with_boundary),
            has_truth=source.has_truth,
        )
        for segmenter in segmenters
    ]
    for segmenter in segmenters:
        segmenter.warm_up()
    differences = Examples()
    # Skips of reading belong to every run alike; the first collects them.
    skips = runs[0].scoring.skips
    start = time.perf_counter()
    frames = source.read(skips)
    progress: Any = tqdm(frames, total=len(source), unit='frame', disable=not with_progress)
    for frame in progress:
        image_rgb = to_rgb(frame.image)
        results = [run.take(frame, image_rgb, min_confidence) for run in runs]
        if predictions is not None:
            predictions.write(frame, image_rgb, results[0])
        if len(results) > 1:
            _note_difference(differences, frame, image_rgb, runs, results)
    seconds = time.perf_counter() - start
    for run in runs:
        if not run.scoring.frames:
            raise ValueError(f'no frame could be read: {"; ".join(skips.lines())}')
        if source.has_truth:
            run.scoring.demand_scores()
    reports = tuple(run.report(source, seconds) for run in runs)
    if len(reports) == 1:
        return reports[0]
    return Comparison(reports, tuple(differences.chosen()['best']))


def to_rgb(image: CameraImage) -> np.ndarray:
    """The pixels of an image as (H, W, 3) uint8 RGB."""
    if image.order == 'rgb':
        return image.pixels
    return cv2.cvtColor(image.pixels, cv2.COLOR_BGR2RGB)


def _check_same_classes(classes: Sequence[ClassInfo], segmenters: Sequence[Segmenter]) -> None:
    expected = {entry.id: entry.name for entry in classes}
    for segmenter in segmenters[1:]:
        found = {entry.id: entry.name for entry in segmenter.card.classes}
        if found != expected:
            raise ValueError(
                f'models with different classes cannot be compared: {segmenters[0].card.name} '
                f'has {expected}, {segmenter.card.name} has {found}'
            )


def _note_difference(
    differences: Examples,
    frame: Frame,
    image_rgb: np.ndarray,
    runs: Sequence[_Run],
    results: Sequence[Segmentation],
) -> None:
    first, second = results[0].labels, results[1].labels
    share = float((first != second).mean())
    picture = None
    if share > 0 and differences.wants(share):
        engines = [(run.segmenter.card.name, run.segmenter.backend) for run in runs[:2]]
        names = [f'{name} in {engine.name} {engine.precision}' for name, engine in engines]
        shown = list(zip(names, (first, second), strict=True))
        picture = example(
            frame.name, share, image_rgb, frame.truth, shown, runs[0].scoring.classes
        )
    differences.add(share, picture)
