r"""Add an int8 variant to a model folder, with its measured score beside that of fp32.

    python -m seg_ros quantize --model road_linknet --calibration camvid/val \
        --dataset camvid --root camvid --split val
    python -m seg_ros quantize --model robocup_mini_unet --calibration photos drive_bag \
        --bag drive_bag --label-topic /ground_truth/labels

With labels (--dataset, or --bag with --label-topic) the mean IoU of both is measured. Without,
every second calibration image is kept back and the share of labels equal to fp32's is measured.
Nothing is written when the loss is above --allow-loss; each graph that is tried shows its score,
and after --max-minutes it ends. Needs: pip install 'seg_ros[quantize]'.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import argparse

    from seg_ros.evaluation.frames import FrameSource
    from seg_ros.model_card import ModelCard
    from seg_ros.quantize import Validation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--model', required=True, help='name or path of the model')
    parser.add_argument(
        '--calibration',
        type=Path,
        nargs='+',
        required=True,
        help='images, folders of them, videos or bags that look like what the cameras will see',
    )
    parser.add_argument('--image-topic', help='of the bags that have it; else their only one')
    parser.add_argument(
        '--max-images', type=int, default=300, help='to calibrate with, evenly spaced'
    )
    measured = parser.add_argument_group('what the loss is measured on')
    measured.add_argument('--dataset', help='camvid, folder, robocup_scenes, ...')
    measured.add_argument('--root', type=Path, help='folder of the dataset')
    measured.add_argument('--split', default='val', help='train, val, test or all')
    measured.add_argument('--bag', type=Path, nargs='+', help='labelled bags, instead')
    measured.add_argument('--label-topic', help='of the bags: true class ids per pixel')
    measured.add_argument(
        '--void-ids', type=int, nargs='+', default=(), help='ids of the truth that mean void, too'
    )
    measured.add_argument(
        '--max-frames', type=int, default=150, help='to measure on, evenly spaced'
    )
    parser.add_argument(
        '--allow-loss',
        type=float,
        default=0.5,
        metavar='POINTS',
        help='of mean IoU, or of equal labels, out of 100 (default: 0.5)',
    )
    parser.add_argument(
        '--max-minutes',
        type=float,
        default=30.0,
        help='how long layers may be taken back to fp32 to lose less (default: 30)',
    )


def run(args: argparse.Namespace) -> int:
    import importlib.util

    from seg_ros.calibration_images import load_calibration
    from seg_ros.model_card import INT8_GRAPH_FILE, load_model_card
    from seg_ros.result_files import demand_place
    from seg_ros.segmenter import find_model

    _check(args)
    if importlib.util.find_spec('nncf') is None:
        raise ValueError("nncf is not installed: pip install 'seg_ros[quantize]'")
    card = load_model_card(find_model(args.model))
    assert card.folder is not None
    demand_place(card.folder / INT8_GRAPH_FILE, overwrite=True)
    images, described = load_calibration(
        args.calibration, (args.image_topic, args.label_topic), card.input, args.max_images
    )
    source = _labelled_source(args, card)
    if source is not None:
        validation = _labelled(source, args)
    else:
        images, validation = _held_back(images, described)
    from seg_ros.quantize import quantize_model

    variant = quantize_model(
        card,
        images,
        validation,
        calibrated_on=f'{len(images)} images of {described}',
        allowed_loss_points=args.allow_loss,
        max_minutes=args.max_minutes,
    )
    print(
        f'{card.folder}: {variant.file} written; {variant.metric} {variant.score:.4f} in int8, '
        f'{variant.fp32_score:.4f} in fp32 ({-variant.loss_points:+.2f} points) on '
        f'{variant.measured_on}'
    )
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.dataset and args.bag:
        raise ValueError('give either --dataset or --bag')
    if args.dataset and not args.root:
        raise ValueError('--dataset needs --root, the folder where its files lie')
    if bool(args.bag) != bool(args.label_topic):
        raise ValueError('--bag and --label-topic belong together')
    for name in ('max_images', 'max_frames'):
        if getattr(args, name) < 2:
            option = '--' + name.replace('_', '-')
            raise ValueError(f'{option} is {getattr(args, name)}; allowed are 2 and above')
    if not args.allow_loss >= 0:
        raise ValueError(f'--allow-loss is {args.allow_loss}; give points of 100, 0 or more')
    if not args.max_minutes > 0:
        raise ValueError(f'--max-minutes is {args.max_minutes}; give a number above 0')


def _labelled_source(args: argparse.Namespace, card: ModelCard) -> FrameSource | None:
    from seg_ros.datasets import build_dataset
    from seg_ros.evaluation.frames import BagFrames, DatasetFrames

    if args.dataset:
        dataset = build_dataset(args.dataset, args.root, args.split)
        return DatasetFrames(dataset, card.classes, name=args.dataset, split=args.split)
    if args.bag:
        return BagFrames(args.bag, args.image_topic, args.label_topic)
    return None


def _labelled(source: FrameSource, args: argparse.Namespace) -> Validation:
    from seg_ros.evaluation.skips import Skips
    from seg_ros.quantize import MEAN_IOU, Validation

    skips = Skips()
    step = -(-len(source) // args.max_frames)
    frames = [
        frame
        for frame in itertools.islice(source.read(skips), 0, None, step)
        if frame.truth is not None
    ]
    for line in skips.lines():
        print(f'skipped: {line}')
    said = source.description
    what = f'{said["dataset"]} {said["split"]}' if args.dataset else ', '.join(said['bags'])
    description = f'{len(frames)} labelled frames of {what}'
    return Validation(frames, MEAN_IOU, description, tuple(args.void_ids))


def _held_back(images: list[np.ndarray], described: str) -> tuple[list[np.ndarray], Validation]:
    """Part the images: one half to calibrate with, the other to compare with fp32."""
    from seg_ros.evaluation.frames import Frame
    from seg_ros.image import CameraImage
    from seg_ros.quantize import LABEL_AGREEMENT, Validation

    if len(images) < 2:
        raise ValueError('one image only; without labels, half of the images is held back')
    frames = [
        Frame(str(number), CameraImage(image, 'rgb'), None, float(number))
        for number, image in enumerate(images[1::2])
    ]
    print(
        f'no labels were given: what is measured on {len(frames)} images is the share of pixels '
        'with the label that fp32 gives, not whether that label is right'
    )
    description = f'{len(frames)} images of {described}, not calibrated on'
    return images[::2], Validation(frames, LABEL_AGREEMENT, description)
