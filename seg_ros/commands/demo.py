"""Play a bag through the node over real DDS; record, score and picture what it publishes.

Leaves in --out: recording/ (an mcap of image, truth, label mask, confidence, label colours and
overlay for RViz or Foxglove), contact_sheet.png (image | truth | prediction | overlay) and
summary.json.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    import numpy as np

    from seg_ros.bags import Bag, BagMessage
    from seg_ros.model_card import ModelCard
    from seg_ros.node.demo import Recording

GROUND_TRUTH = '/ground_truth/labels'
_RECORDING, _SHEET, _SUMMARY = 'recording', 'contact_sheet.png', 'summary.json'
_SHEET_ROWS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--bag', type=Path, help='rosbag2 folder; the sample bag by default')
    parser.add_argument('--topic', help='image topic; the only one of the bag by default')
    parser.add_argument('--labels', help=f'topic of the truth; {GROUND_TRUTH} where it is there')
    parser.add_argument(
        '--void-ids', type=int, nargs='+', default=(), help='ids of the truth that mean void, too'
    )
    parser.add_argument('--model', default='robocup_mini_unet', help='name or path of the model')
    parser.add_argument('--backend', default='auto', help='engine of the node')
    parser.add_argument('--precision', default='auto', help='fp32, bf16, int8, ... or auto')
    parser.add_argument(
        '--rate',
        type=float,
        help='speed of playing; by default as recorded, or slower if the machine cannot hold it',
    )
    parser.add_argument(
        '--out', type=Path, default=Path('demo_out'), help='folder for the results'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace results in that folder')


def run(args: argparse.Namespace) -> int:
    from seg_ros.bags import Bag
    from seg_ros.model_card import load_model_card
    from seg_ros.node.demo import run_bag, write_recording
    from seg_ros.result_files import write_picture, write_text
    from seg_ros.segmenter import find_model
    from seg_ros.share import SAMPLE_BAG, share_file

    if args.rate is not None and not args.rate > 0:
        raise ValueError(f'--rate is {args.rate}; give a number above 0')
    _make_room(args.out, overwrite=args.overwrite)
    bag_path = args.bag or share_file(SAMPLE_BAG)
    card = load_model_card(find_model(args.model))
    with Bag(bag_path) as bag:
        image_topic = args.topic or bag.only_image_topic(GROUND_TRUTH)
        label_topic = args.labels or (GROUND_TRUTH if GROUND_TRUTH in bag.topics else None)
        if label_topic is not None:
            bag.topic(label_topic)
    model = str(card.folder.resolve()) if card.folder else args.model
    recording = run_bag(
        bag_path,
        image_topic,
        model=model,
        backend=args.backend,
        precision=args.precision,
        rate=args.rate,
    )

    with Bag(bag_path) as bag:
        truth = list(bag.read_messages([label_topic])) if label_topic else []
        summary, sheet = _summarize(bag, recording, truth, card, args.void_ids)
    summary['bag'] = bag_path.name
    print(_table(summary), flush=True)
    write_text(args.out / _SUMMARY, json.dumps(summary, indent=2) + '\n')
    if sheet is not None:
        write_picture(args.out / _SHEET, sheet)
    if (args.out / _RECORDING).exists():
        shutil.rmtree(args.out / _RECORDING)
    write_recording(recording, truth, card.classes, args.out / _RECORDING)
    print(f'\nSee {args.out}/contact_sheet.png; open {args.out}/recording in RViz or Foxglove.')
    return 0 if recording.latency_ms else 1


def _make_room(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder with results unless they may be replaced, and with a recording of others."""
    from seg_ros.result_files import demand_empty, demand_place

    for name in (_SUMMARY, _SHEET):
        demand_place(out / name, overwrite=overwrite)
    # Only what lies beside a summary was left by an earlier demo and may be removed.
    is_ours = overwrite and (out / _SUMMARY).is_file()
    demand_empty(out / _RECORDING, overwrite=is_ours)


def _summarize(
    bag: Bag,
    recording: Recording,
    truth: list[BagMessage],
    card: ModelCard,
    void_ids: Sequence[int],
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Score the label masks as they were published and draw the contact sheet, in BGR."""
    import cv2

    from seg_ros.bags import header_stamp_ns
    from seg_ros.evaluation.offline import to_rgb
    from seg_ros.evaluation.report import plain
    from seg_ros.evaluation.scoring import Scoring, percentiles
    from seg_ros.node.demo import LABEL_MASK, OVERLAY
    from seg_ros.overlay import colorize, contact_sheet, palette

    colors = palette(card.classes)
    scoring = Scoring(card.classes, void_ids=void_ids, with_boundary=False)
    truth_of = {header_stamp_ns(message.data): message for message in truth}
    shown = _evenly(sorted(recording.latency_ms), _SHEET_ROWS)
    rows, headings = [], []
    for stamp, latency_ms in sorted(recording.latency_ms.items()):
        prediction = bag.decode_labels(recording.outputs[LABEL_MASK][stamp])
        labels = bag.decode_labels(truth_of[stamp]) if stamp in truth_of else None
        scoring.add(str(stamp), prediction, truth_hw=labels, latency_ms=latency_ms)
        if stamp in shown:
            overlay = recording.outputs[OVERLAY].get(stamp)
            cells = {
                'image': to_rgb(bag.decode_image(recording.sent[stamp])),
                'truth': colorize(labels, colors) if labels is not None else None,
                'prediction': colorize(prediction, colors),
                'overlay': to_rgb(bag.decode_image(overlay)) if overlay else None,
            }
            if not truth:
                del cells['truth']
            rows.append(list(cells.values()))
            headings = list(cells)
    sheet = None
    if rows:
        sheet = cv2.cvtColor(contact_sheet(rows, headings, card.classes), cv2.COLOR_RGB2BGR)
    summary: dict[str, Any] = {
        'model': card.name,
        'frames': {
            'in': len(recording.sent),
            'out': len(recording.latency_ms),
            'dropped': recording.dropped,
        },
        'rate': round(recording.rate, 3),
        'latency_ms': {
            name: round(value, 2) for name, value in percentiles(scoring.latencies_ms).items()
        },
    }
    if truth:
        summary['skipped'] = scoring.skips.to_json()
    if scoring.scored:
        scores = scoring.scores
        names = [entry.name for entry in card.classes]
        summary['scored'] = scoring.scored
        summary['iou'] = plain(dict(zip(names, scores.iou, strict=True)))
        summary['miou'] = plain(scores.mean_iou)
        summary['pixel_accuracy'] = plain(scores.pixel_accuracy)
    return summary, sheet


def _evenly(items: list[int], count: int) -> set[int]:
    if len(items) <= count:
        return set(items)
    return {items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)}


def _table(summary: dict[str, Any]) -> str:
    frames, latency = summary['frames'], summary['latency_ms']
    lines = [f'\n{summary["bag"]} through {summary["model"]}\n']
    if 'iou' in summary:
        lines += [f'{"class":<14} {"IoU":>7}', '-' * 22]
        for name, iou in summary['iou'].items():
            lines.append(f'{name:<14} {"absent" if iou is None else f"{iou:.4f}":>7}')
        lines += ['-' * 22, f'{"mIoU":<14} {summary["miou"]:.4f}']
        lines.append(f'{"pixel accuracy":<14} {summary["pixel_accuracy"]:.4f}\n')
    if count := summary.get('skipped', {}).get('count'):
        reasons = '; '.join(entry['reason'] for entry in summary['skipped']['reasons'])
        lines.append(f'{count} frames were not scored: {reasons}\n')
    elif 'iou' not in summary:
        lines.append('no truth in this bag: nothing to score\n')
    lines.append(
        f'frames: {frames["in"]} in, {frames["out"]} out, {frames["dropped"]} dropped '
        f'(played at {summary["rate"]:.2f} x the recorded speed)'
    )
    if latency:
        lines.append(
            'latency, published image to received label mask: '
            + ', '.join(f'{name} {value:.1f} ms' for name, value in latency.items())
        )
    return '\n'.join(lines)
