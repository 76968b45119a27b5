r"""Score a model on rosbags or on a dataset, without any ROS installed.

    python -m seg_ros evaluate --bag DRIVE --image-topic /camera/image_raw/compressed \
        --label-topic /ground_truth/labels --model road_linknet --html report.html
    python -m seg_ros evaluate runs/<run>
    python -m seg_ros evaluate --dataset camvid --root DIR --split val --model road_linknet

Several models, backends or precisions in one call are compared. Exit status: 0; 1 below
--min-miou; 2 for bad input.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from seg_ros.evaluation.frames import FrameSource
    from seg_ros.evaluation.report import Comparison, Report
    from seg_ros.model_card import ClassInfo
    from seg_ros.segmenter import Segmenter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group('what to evaluate on')
    what.add_argument(
        'trained',
        nargs='?',
        metavar='RUN',
        type=Path,
        help='run folder: the images that it held out, and its model unless --model is given',
    )
    what.add_argument('--bag', type=Path, nargs='+', help='rosbag2 folders')
    what.add_argument('--image-topic', help='Image or CompressedImage; the only one by default')
    what.add_argument('--label-topic', help='true class ids per pixel; 255 is void')
    what.add_argument(
        '--slop-ms', type=float, default=0.0, help='how far stamps of a pair may lie apart'
    )
    what.add_argument('--dataset', help='instead of bags: camvid, folder, ...')
    what.add_argument('--root', type=Path, help='folder of the dataset')
    what.add_argument('--split', default='val', help='train, val, test or all')
    what.add_argument(
        '--void-ids', type=int, nargs='+', default=(), help='ids of the truth that mean void, too'
    )
    how = parser.add_argument_group('what to evaluate')
    how.add_argument('--model', nargs='+', help='names or paths of models')
    how.add_argument('--backend', nargs='+', default=['auto'], help='engines')
    how.add_argument(
        '--precision', nargs='+', default=['auto'], help='fp32, bf16, int8, ... or auto'
    )
    how.add_argument('--num-threads', type=int, default=0, help='of the engine; 0: its choice')
    how.add_argument('--min-confidence', type=float, default=0.0, help='below: void')
    how.add_argument('--no-boundary', action='store_true', help='leave out boundary F1 (faster)')
    how.add_argument('--flip', action='store_true', help='mean of image and mirror image')
    how.add_argument(
        '--windows',
        metavar='HEIGHTxWIDTH',
        help='bring images to this size and slide the input of the model over them',
    )
    out = parser.add_argument_group('results')
    out.add_argument('--json', type=Path, help='file for the report as JSON')
    out.add_argument('--html', type=Path, help='file for the report as a page')
    out.add_argument('--write-bag', type=Path, help='new folder: the bag with the predictions')
    out.add_argument(
        '--write-prefix', default='/segmentation', help='what their topics stand under'
    )
    out.add_argument('--overwrite', action='store_true', help='replace reports that exist')
    out.add_argument('--min-miou', type=float, help='exit with status 1 below this mIoU')
    out.add_argument('--quiet', action='store_true', help='no progress bar')


def run(args: argparse.Namespace) -> int:
    from seg_ros.evaluation.offline import evaluate
    from seg_ros.evaluation.recording import PredictionTopics
    from seg_ros.evaluation.report import Report
    from seg_ros.segmenter import load

    _check(args)
    segmenters = [
        _averaged(
            load(model, backend=backend, precision=precision, num_threads=args.num_threads), args
        )
        for model in args.model or [_model_of(args.trained)]
        for backend in args.backend
        for precision in args.precision
    ]
    predictions = None
    if args.write_bag:
        if len(segmenters) > 1 or len(args.bag) > 1:
            raise ValueError('--write-bag takes one bag, one model, one backend and one precision')
        classes = segmenters[0].card.classes
        predictions = PredictionTopics(
            args.bag[0], args.write_bag, classes, prefix=args.write_prefix
        )
    source = _source(args, segmenters, predictions)
    with predictions or nullcontext():
        result = evaluate(
            source,
            segmenters,
            void_ids=args.void_ids,
            min_confidence=args.min_confidence,
            with_boundary=not args.no_boundary,
            predictions=predictions,
            with_progress=not args.quiet,
        )
    reports = [result] if isinstance(result, Report) else list(result.reports)
    for report in reports:  # first: whatever becomes of the files, the result is not lost
        print(summary(report.content), flush=True)
    status = _status(reports, args.min_miou)
    _save(result, args)
    if predictions and predictions.writer.failure:
        raise predictions.writer.failure
    return status


def _save(result: Report | Comparison, args: argparse.Namespace) -> None:
    """Write both files, the second one even where the first one fails."""
    from seg_ros.evaluation.page import save_page
    from seg_ros.evaluation.report import save_json

    try:
        if args.json:
            save_json(result.content, args.json)
    finally:
        if args.html:
            save_page(result, args.html)


def _check(args: argparse.Namespace) -> None:
    from seg_ros.result_files import demand_place

    if sum(map(bool, (args.bag, args.dataset, args.trained))) != 1:
        raise ValueError('give one of --bag, --dataset and a run folder')
    if not args.model and not args.trained:
        raise ValueError('give --model, one or several')
    if args.dataset and not args.root:
        raise ValueError('--dataset needs --root, the folder where its files lie')
    if args.dataset and args.write_bag:
        raise ValueError('--write-bag needs --bag: a dataset has no recording to add topics to')
    if args.min_miou is not None and not 0 <= args.min_miou <= 1:
        raise ValueError(f'--min-miou is {args.min_miou}; give 0 to 1')
    if args.min_miou is not None and args.bag and not args.label_topic:
        raise ValueError('--min-miou needs --label-topic')
    for path in filter(None, (args.json, args.html)):
        demand_place(path, overwrite=args.overwrite)


def _source(
    args: argparse.Namespace, segmenters: list[Segmenter], predictions: Any
) -> FrameSource:
    from seg_ros.datasets import build_dataset
    from seg_ros.evaluation.frames import BagFrames, DatasetFrames

    if args.trained:
        return _held_out(args.trained, segmenters[0].card.classes)
    if args.dataset:
        dataset = build_dataset(args.dataset, args.root, args.split)
        classes = segmenters[0].card.classes
        return DatasetFrames(dataset, classes, name=args.dataset, split=args.split)
    return BagFrames(
        args.bag,
        args.image_topic,
        args.label_topic,
        slop_ms=args.slop_ms,
        copy_to=predictions.writer if predictions else None,
    )


def _model_of(run: Path) -> str:
    from seg_ros.training.outcome import load_outcome

    model = load_outcome(run).get('model', '')
    if not model:
        raise ValueError(f'{run} has written no model; give one with --model')
    return str(model)


def _held_out(run: Path, classes: Sequence[ClassInfo]) -> FrameSource:
    from seg_ros.datasets.selection import Selection
    from seg_ros.evaluation.frames import DatasetFrames
    from seg_ros.training.model_folder import validation_images

    store = validation_images(run)
    held_out = Selection(store.dataset, store.indices)
    return DatasetFrames(held_out, classes, name=run.resolve().name, split='held out')


def _averaged(segmenter: Segmenter, args: argparse.Namespace) -> Segmenter:
    from seg_ros.evaluation.averaging import with_mirror, with_windows

    if args.windows:
        match = re.fullmatch(r'(\d{1,5})x(\d{1,5})', args.windows)
        if not match:
            raise ValueError(f'--windows {args.windows!r}: write it as 720x960')
        segmenter = with_windows(segmenter, (int(match[1]), int(match[2])))
    return with_mirror(segmenter) if args.flip else segmenter


def _status(reports: list[Report], min_miou: float | None) -> int:
    if min_miou is None:
        return 0
    worst = min(report.content['miou'] or 0.0 for report in reports)
    if worst < min_miou:
        print(f'mIoU {worst:.4f} is below --min-miou {min_miou}')
        return 1
    return 0


def summary(content: Mapping[str, Any]) -> str:
    """The report's headline as text."""
    precision = content['timing'].get('precision', '')
    lines = [f'\n{content["model"]} in {content["backend"]} {precision}'.rstrip()]
    if content['scored']:
        width = max(14, *map(len, content['classes']))
        for name, iou in content['iou'].items():
            lines.append(f'  {name:<{width}}  {"absent" if iou is None else f"{iou:.4f}":>7}')
        headline = {
            'mIoU': content['miou'],
            'pixel accuracy': content['pixel_accuracy'],
            'class accuracy': content['class_accuracy'],
            'boundary F1': content['mean_boundary_f1'],
            'ECE': content['calibration']['ece'],
        }
        lines.append('  ' + '-' * (width + 9))
        for name, value in headline.items():
            if value is not None:
                lines.append(f'  {name:<{width}}  {value:>7.4f}')
    lines.append(
        f'frames: {content["frames"]}, scored {content["scored"]}, dropped {content["dropped"]}, '
        f'skipped {content["skipped"]["count"]}'
    )
    for entry in content['skipped']['reasons']:
        more = ', ...' if entry['count'] > 3 else ''
        lines.append(
            f'  {entry["count"]} x {entry["reason"]}: {"; ".join(entry["items"][:3])}{more}'
        )
    if content['latency_ms']:
        values = ', '.join(f'{k} {v:.1f} ms' for k, v in content['latency_ms'].items())
        lines.append(f'latency: {values}')
    return '\n'.join(lines)
