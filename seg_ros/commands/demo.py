"""Play a bag through the node over real DDS; record, score and picture what it publishes.

Leaves in --out: recording/ (an mcap of image, truth, label mask, confidence, overlay for RViz or
Foxglove), contact_sheet.png (image | truth | prediction | overlay) and summary.json.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    import numpy as np

    from seg_ros.bags import Bag, BagMessage
    from seg_ros.model_card import ModelCard
    from seg_ros.node.demo import Recording

SAMPLE_BAG = 'demo/robocup_scenes'
GROUND_TRUTH = '/ground_truth/labels'
_SHEET_ROWS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--bag', type=Path, help='rosbag2 folder; the sample bag by default')
    parser.add_argument('--topic', help='image topic; the only one of the bag by default')
    parser.add_argument('--labels', help=f'topic of the truth; {GROUND_TRUTH} where it is there')
    parser.add_argument('--model', default='robocup_mini_unet', help='name or path of the model')
    parser.add_argument('--backend', default='auto', help='engine of the node')
    parser.add_argument(
        '--rate',
        type=float,
        help='speed of playing; by default as recorded, or slower if the machine cannot hold it',
    )
    parser.add_argument(
        '--out', type=Path, default=Path('demo_out'), help='folder for the results'
    )


def run(args: argparse.Namespace) -> int:
    from seg_ros.bags import Bag
    from seg_ros.model_card import load_model_card
    from seg_ros.node.demo import run_bag, write_recording
    from seg_ros.segmenter import find_model
    from seg_ros.share import share_file

    if args.rate is not None and not args.rate > 0:
        raise ValueError(f'--rate is {args.rate}; give a number above 0')
    bag_path = args.bag or share_file(SAMPLE_BAG)
    card = load_model_card(find_model(args.model))
    with Bag(bag_path) as bag:
        image_topic = args.topic or _only_image_topic(bag)
        label_topic = args.labels or (GROUND_TRUTH if GROUND_TRUTH in bag.topics else None)
        if label_topic is not None:
            bag.topic(label_topic)
    model = str(card.folder.resolve()) if card.folder else args.model
    recording = run_bag(bag_path, image_topic, model=model, backend=args.backend, rate=args.rate)

    args.out.mkdir(parents=True, exist_ok=True)
    with Bag(bag_path) as bag:
        truth = list(bag.read_messages([label_topic])) if label_topic else []
        target = args.out / 'recording'
        if (target / 'metadata.yaml').is_file():
            shutil.rmtree(target)
        write_recording(recording, truth, target)
        summary = _summarize(bag, recording, truth, card, args.out / 'contact_sheet.png')
    summary['bag'] = bag_path.name
    text = json.dumps(summary, indent=2) + '\n'
    (args.out / 'summary.json').write_text(text, encoding='utf-8')
    print(_table(summary))
    print(f'\nSee {args.out}/contact_sheet.png; open {args.out}/recording in RViz or Foxglove.')
    return 0 if recording.latency_ms else 1


def _only_image_topic(bag: Bag) -> str:
    from seg_ros.bags import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE

    names = [
        topic.name
        for topic in bag.topics.values()
        if topic.type in (IMAGE_TYPE, COMPRESSED_IMAGE_TYPE) and topic.name != GROUND_TRUTH
    ]
    if len(names) != 1:
        listed = ', '.join(f'{topic.name} ({topic.type})' for topic in bag.topics.values())
        raise ValueError(f'choose an image topic with --topic; topics of the bag: {listed}')
    return names[0]


def _summarize(
    bag: Bag, recording: Recording, truth: list[BagMessage], card: ModelCard, sheet_path: Path
) -> dict[str, Any]:
    """Score the label masks as they were published and draw the contact sheet."""
    import cv2
    import numpy as np

    from seg_ros.bags import header_stamp_ns
    from seg_ros.metrics import confusion_matrix, scores_from_confusion
    from seg_ros.node.demo import LABEL_MASK, OVERLAY
    from seg_ros.overlay import colorize, contact_sheet, palette

    colors = palette(card.classes)
    index_of_id = np.full(256, 255, np.uint8)
    index_of_id[[entry.id for entry in card.classes]] = range(card.num_classes)
    truth_of = {header_stamp_ns(message.data): message for message in truth}
    shown = _evenly(sorted(recording.latency_ms), _SHEET_ROWS)
    matrix = np.zeros((card.num_classes, card.num_classes + 1), np.int64)
    rows, scored = [], 0
    for stamp in sorted(recording.latency_ms):
        prediction = bag.decode_labels(recording.outputs[LABEL_MASK][stamp])
        labels = bag.decode_labels(truth_of[stamp]) if stamp in truth_of else None
        if labels is not None:
            strange = sorted(set(np.unique(labels)) - {entry.id for entry in card.classes} - {255})
            if strange:
                raise ValueError(f'the truth has ids {strange} that {card.name} does not know')
            matrix += confusion_matrix(
                index_of_id[labels], index_of_id[prediction], card.num_classes
            )
            scored += 1
        if stamp in shown:
            overlay = recording.outputs[OVERLAY].get(stamp)
            rows.append(
                [
                    _rgb(bag, recording.sent[stamp]),
                    colorize(labels, colors) if labels is not None else None,
                    colorize(prediction, colors),
                    _rgb(bag, overlay) if overlay else None,
                ]
            )
    if rows:
        sheet = contact_sheet(rows, ('image', 'truth', 'prediction', 'overlay'), card.classes)
        cv2.imwrite(str(sheet_path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    summary: dict[str, Any] = {
        'model': card.name,
        'frames': {
            'in': len(recording.sent),
            'out': len(recording.latency_ms),
            'dropped': recording.dropped,
        },
        'rate': round(recording.rate, 3),
        'latency_ms': _percentiles(list(recording.latency_ms.values())),
    }
    if scored:
        scores = scores_from_confusion(matrix)
        names = [entry.name for entry in card.classes]
        summary['scored'] = scored
        summary['iou'] = {
            name: None if np.isnan(iou) else round(float(iou), 4)
            for name, iou in zip(names, scores.iou, strict=True)
        }
        summary['miou'] = round(scores.mean_iou, 4)
        summary['pixel_accuracy'] = round(scores.pixel_accuracy, 4)
    return summary


def _rgb(bag: Bag, message: BagMessage) -> np.ndarray:
    import cv2

    image = bag.decode_image(message)
    return image.pixels if image.order == 'rgb' else cv2.cvtColor(image.pixels, cv2.COLOR_BGR2RGB)


def _evenly(items: list[int], count: int) -> set[int]:
    if len(items) <= count:
        return set(items)
    return {items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)}


def _percentiles(values: list[float]) -> dict[str, float]:
    import numpy as np

    if not values:
        return {}
    return {f'p{p}': round(float(np.percentile(values, p)), 2) for p in (50, 95, 99)}


def _table(summary: dict[str, Any]) -> str:
    frames, latency = summary['frames'], summary['latency_ms']
    lines = [f'\n{summary["bag"]} through {summary["model"]}\n']
    if 'iou' in summary:
        lines += [f'{"class":<14} {"IoU":>7}', '-' * 22]
        for name, iou in summary['iou'].items():
            lines.append(f'{name:<14} {"absent" if iou is None else f"{iou:.4f}":>7}')
        lines += ['-' * 22, f'{"mIoU":<14} {summary["miou"]:.4f}']
        lines.append(f'{"pixel accuracy":<14} {summary["pixel_accuracy"]:.4f}\n')
    else:
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
