"""Export a trained net to a model folder that the node runs.

Takes a training run (its best checkpoint), or a model folder, and writes a model folder after
checking it on real images in ONNX Runtime and OpenVINO against torch. The temperature of the
confidence is fitted on the validation images of the run, or on --calibration-data; the card says
on what. Without labelled images at hand it stays as it is.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from seg_ros.model_card import InputSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('trained', type=Path, help='run folder, checkpoint or model folder')
    parser.add_argument('folder', type=Path, help='model folder to write, such as models/<name>')
    parser.add_argument(
        '--images', type=Path, nargs='+', required=True, help='real images or folders of them'
    )
    parser.add_argument('--max-images', type=int, default=4, help='how many to check with')
    parser.add_argument(
        '--size', type=_size, metavar='HEIGHTxWIDTH', help='input size; the trained one if omitted'
    )
    parser.add_argument(
        '--min-label-agreement',
        type=float,
        metavar='SHARE',
        help='of the pixels on which engines must agree with torch (default: 0.999)',
    )
    parser.add_argument(
        '--weights-dtype',
        choices=('float32', 'float16'),
        default='float16',
        help='storage of the kernels; computed with in float32 either way (default: float16)',
    )
    parser.add_argument(
        '--calibration-data',
        type=Path,
        metavar='DIR',
        help='labelled images to fit the temperature on; those the run validated on if omitted',
    )
    parser.add_argument(
        '--calibration-dataset', default='folder', help='kind of data set it is (default: folder)'
    )
    parser.add_argument('--calibration-split', default='all', help='its split (default: all)')
    parser.add_argument('--overwrite', action='store_true', help='replace an existing folder')


def run(args: argparse.Namespace) -> int:
    """Export; prints how close the engines come to torch."""
    from seg_ros.model_card import CARD_FILE, load_model_card
    from seg_ros.model_export import export_net
    from seg_ros.nets.deployed import load_net
    from seg_ros.parity import MIN_LABEL_AGREEMENT
    from seg_ros.training.model_folder import load_trained

    agreement = args.min_label_agreement
    agreement = MIN_LABEL_AGREEMENT if agreement is None else agreement
    if not 0 < agreement <= 1:
        raise ValueError(f'--min-label-agreement is {agreement}; allowed are above 0 up to 1')
    if (args.trained / CARD_FILE).is_file():
        card = load_model_card(args.trained)
        net = load_net(card).net
    else:
        net, card = load_trained(args.trained)
    spec = card.input
    if args.size is not None:
        spec = replace(spec, height_px=args.size[0], width_px=args.size[1])
    card = replace(card, name=args.folder.name, input=spec)
    images = load_images(args.images, spec, args.max_images)
    parity = export_net(
        net,
        card,
        args.folder,
        images,
        weights_dtype=args.weights_dtype,
        overwrite=args.overwrite,
        min_label_agreement=agreement,
    )
    for name, each in parity.items():
        print(
            f'{name:<12} labels equal on {100 * each.label_agreement:.3f} %, '
            f'logits within {each.relative_error:.1e} of their range'
        )
    _calibrate(args)
    megabytes = sum(path.stat().st_size for path in args.folder.iterdir()) / 1e6
    print(f'{args.folder}: {megabytes:.1f} MB, checked on {len(images)} images')
    return 0


def _calibrate(args: argparse.Namespace) -> None:
    from seg_ros.datasets import build_dataset
    from seg_ros.model_card import CARD_FILE
    from seg_ros.training.model_folder import calibrate, validation_images

    if args.calibration_data is not None:
        kind, split = args.calibration_dataset, args.calibration_split
        dataset = build_dataset(kind, args.calibration_data, split)
        temperature = calibrate(args.folder, dataset, source=f'{kind}, split {split}')
    elif (args.trained / CARD_FILE).is_file():
        print('temperature as on the card of the model; --calibration-data fits it anew')
        return
    else:
        try:
            store = validation_images(args.trained)
        except (FileNotFoundError, ValueError) as error:
            print(f'temperature not fitted, give --calibration-data: {error}')
            return
        temperature = calibrate(args.folder, store.dataset, store.indices)
    print(f'temperature of the confidence: {temperature:.4f}')


def load_images(paths: list[Path], spec: InputSpec, limit: int) -> list[np.ndarray]:
    """Read images as the graph takes them, evenly spaced over what the folders hold.

    Args:
        paths: Image files, or folders of them.
        spec: Size to bring them to.
        limit: How many at most.

    Returns:
        (h, w, 3) uint8 RGB each.

    Raises:
        FileNotFoundError: If a path does not exist or holds no image.
        ValueError: If a file is no readable image or ``limit`` is below 1.
    """
    from seg_ros.datasets.image_files import find_images
    from seg_ros.image_files import load_image
    from seg_ros.preprocess import place, to_network

    if limit < 1:
        raise ValueError(f'--max-images is {limit}; allowed are 1 and above')
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f'{path} does not exist')
        files += find_images(path) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f'no image in {", ".join(map(str, paths))}')
    chosen = files[:: -(-len(files) // limit)]
    images = []
    for file in chosen:
        image = load_image(file)
        images.append(to_network(image, place(image.shape[:2], spec), 'rgb', spec.mean))
    return images


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = map(int, text.lower().split('x'))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r}: write it as 480x640') from error
    return height, width
