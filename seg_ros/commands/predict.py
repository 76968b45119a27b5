"""Segment images, a video or a bag into files to look at, or to train on.

Images and bags become <out>/labels/<name>.png (class ids, 255 = void) and overlay/<name>.png;
a video becomes <out>/<name>_overlay.mp4. --format chooses otherwise; dataset writes images/,
labels/ and classes.yaml, which train reads as dataset=folder. With --min-confidence the pixels
that the net is not sure of are void, and count nowhere:

    python -m seg_ros predict photos --format dataset --min-confidence 0.9 --out pseudo_labelled
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    import numpy as np

    from seg_ros.model_card import ClassInfo
    from seg_ros.prediction import PredictionWriter
    from seg_ros.segmenter import Segmenter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'paths', type=Path, nargs='+', help='images or folders of them; one video; or one bag'
    )
    parser.add_argument('--out', type=Path, required=True, help='folder for the files')
    parser.add_argument('--model', default='robocup_mini_unet', help='name or path of the model')
    parser.add_argument('--backend', default='auto', help='engine')
    parser.add_argument('--precision', default='auto', help='fp32, bf16, int8, ... or auto')
    parser.add_argument('--image-topic', help='of a bag; the only one by default')
    parser.add_argument(
        '--format',
        choices=('png', 'mp4', 'dataset'),
        help='mp4 for a video, png otherwise by default; dataset: pseudo-labels to train on',
    )
    parser.add_argument('--fps', type=float, help='of the mp4; by default that of the source')
    parser.add_argument('--alpha', type=float, default=0.5, help='share of colour in the overlay')
    parser.add_argument('--min-confidence', type=float, default=0.0, help='below: void')
    parser.add_argument(
        '--check-balls',
        action='store_true',
        help='of a pitch: what is called ball must be round and lie on the ground',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace files that exist')
    parser.add_argument('--quiet', action='store_true', help='no progress bar')


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from seg_ros.evaluation.skips import Skips
    from seg_ros.model_card import VOID_ID
    from seg_ros.picture_sources import open_pictures
    from seg_ros.segmenter import load

    if not 0 <= args.alpha <= 1:
        raise ValueError(f'--alpha is {args.alpha}; give 0 to 1')
    if args.fps is not None and not args.fps > 0:
        raise ValueError(f'--fps is {args.fps}; give a number above 0')
    kind, source = open_pictures(args.paths, args.image_topic)
    segmenter = load(args.model, backend=args.backend, precision=args.precision)
    form = args.format or ('mp4' if kind == 'video' else 'png')
    target = args.out / f'{source.name}_overlay.mp4' if form == 'mp4' else args.out
    out = _open_writer(form, target, segmenter.card.classes, args.fps or source.fps, args)
    skips, count, void_share = Skips(), 0, 0.0
    with out:
        pictures = source.read(skips)
        for picture in tqdm(pictures, total=len(source), unit='frame', disable=args.quiet):
            labels = _labels_of(picture.image_rgb, segmenter, args)
            out.write(picture, labels)
            count += 1
            void_share += float((labels == VOID_ID).mean())
    print(f'{count} frames through {segmenter.card.name}: see {target}')
    if count and args.min_confidence > 0:
        print(f'{void_share / count:.1%} of the pixels are void: confidence below the minimum')
    for line in skips.lines():
        print(f'skipped: {line}')
    return 0 if count else 2


def _labels_of(
    image_rgb: np.ndarray, segmenter: Segmenter, args: argparse.Namespace
) -> np.ndarray:
    from seg_ros.pseudo_labels import pseudo_labels_of_pitch

    if not args.check_balls:
        result = segmenter.segment(
            image_rgb, 'rgb', with_confidence=False, min_confidence=args.min_confidence
        )
        return result.labels
    result = segmenter.segment(image_rgb, 'rgb')
    assert result.confidence is not None
    return pseudo_labels_of_pitch(
        result.labels, result.confidence, segmenter.card.classes, args.min_confidence
    )


def _open_writer(
    form: str,
    target: Path,
    classes: tuple[ClassInfo, ...],
    fps: float,
    args: argparse.Namespace,
) -> PredictionWriter:
    from seg_ros.prediction import LabelledFolder, OverlayVideo, PictureFiles

    if form == 'dataset':
        return LabelledFolder(target, classes, overwrite=args.overwrite)
    if form == 'mp4':
        return OverlayVideo(target, classes, fps, alpha=args.alpha, overwrite=args.overwrite)
    return PictureFiles(target, classes, alpha=args.alpha, overwrite=args.overwrite)
