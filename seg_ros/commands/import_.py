r"""Make a model folder from an ONNX graph of another project, checked in every engine.

    python -m seg_ros import net.onnx --classes classes.yaml --images photos
    python -m seg_ros import yolo.onnx --classes classes.yaml --mean 0 0 0 --std 1 1 1

The graph takes one image, (1, 3, H, W) or (1, H, W, 3), as floats or bytes, and gives logits or
probabilities of any stride, or a map of ids. classes.yaml lists one class per channel, in their
order; --mean, --std, --range and --order say how the net was trained. Needs: pip install onnx.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seg_ros.foreign_output import OutputPort
    from seg_ros.graph_import import ForeignGraph
    from seg_ros.parity import Parity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('graph', type=Path, help='the .onnx file')
    parser.add_argument(
        '--classes', type=Path, required=True, help='YAML file: classes: [{id, name, color}, ...]'
    )
    parser.add_argument(
        '--out', type=Path, help='model folder to write (default: models/<name of the file>)'
    )
    trained = parser.add_argument_group('how the net was trained')
    trained.add_argument(
        '--mean',
        type=float,
        nargs=3,
        default=(0.485, 0.456, 0.406),
        help="per channel in the net's order (default: ImageNet's)",
    )
    trained.add_argument(
        '--std', type=float, nargs=3, default=(0.229, 0.224, 0.225), help='per channel'
    )
    trained.add_argument(
        '--range',
        type=int,
        choices=(1, 255),
        default=1,
        help='1: mean and std are those of pixels in 0..1 (default); 255: of bytes',
    )
    trained.add_argument(
        '--order', choices=('rgb', 'bgr'), default='rgb', help='of its channels (default: rgb)'
    )
    graph = parser.add_argument_group('what the graph does not tell')
    graph.add_argument('--size', type=_size, metavar='HEIGHTxWIDTH', help='of a graph of any size')
    graph.add_argument('--layout', choices=('nchw', 'nhwc'), help='where its shape is open')
    graph.add_argument('--input', metavar='NAME', help='where it has several')
    graph.add_argument('--output', metavar='NAME', help='where it has several')
    parser.add_argument(
        '--images',
        type=Path,
        nargs='+',
        help='real images, folders of them, videos or bags to compare the engines on (default: '
        'frames of the demo)',
    )
    parser.add_argument('--max-images', type=int, default=4, help='how many of them')
    parser.add_argument(
        '--min-label-agreement',
        type=float,
        metavar='SHARE',
        help='of the pixels on which engines must agree with the graph (default: 0.999)',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace an existing folder')


def run(args: argparse.Namespace) -> int:
    import importlib.util

    if importlib.util.find_spec('onnx') is None:
        raise ValueError('onnx is not installed: pip install onnx')
    from seg_ros.calibration_images import load_calibration
    from seg_ros.datasets.folder import load_classes
    from seg_ros.foreign_graph import ForeignNet
    from seg_ros.graph_import import ForeignGraph
    from seg_ros.parity import MIN_LABEL_AGREEMENT
    from seg_ros.share import SAMPLE_BAG, share_file

    agreement = args.min_label_agreement
    agreement = MIN_LABEL_AGREEMENT if agreement is None else agreement
    if not 0 < agreement <= 1:
        raise ValueError(f'--min-label-agreement is {agreement}; allowed are above 0 up to 1')
    if args.max_images < 1:
        raise ValueError(f'--max-images is {args.max_images}; allowed are 1 and above')
    classes, _ = load_classes(args.classes)
    net = ForeignNet(
        order=args.order,
        mean=tuple(args.mean),
        std=tuple(args.std),
        value_range=args.range,
        size_hw=args.size,
        layout=args.layout,
        input_name=args.input,
        output_name=args.output,
    )
    graph = ForeignGraph(args.graph, net)
    paths = args.images or [share_file(SAMPLE_BAG)]
    images, described = load_calibration(paths, (None, None), graph.spec, args.max_images)
    folder = args.out or Path('models') / args.graph.stem
    card, output, parity = graph.write(
        folder, classes, images, overwrite=args.overwrite, min_label_agreement=agreement
    )
    _report(graph, output, parity)
    stride = card.input.logits_stride
    print(
        f'{folder}: {card.num_classes} classes, a logit for {stride}x{stride} pixels; checked on '
        f'{len(images)} images of {described}'
    )
    print(f'run it: ros2 run seg_ros segmentation_node --ros-args -p model:={folder.resolve()}')
    return 0


def _report(graph: ForeignGraph, output: OutputPort, parity: dict[str, Parity]) -> None:
    net, scale = graph.net, f'0..{graph.net.value_range}'
    pixels = f'mean {net.mean} and std {net.std} of {scale}' if graph.port.is_float else 'bytes'
    print(f'input  {graph.port}: {net.order}, {pixels}')
    print(f'output {output.name!r}: {output}')
    for name, each in parity.items():
        print(
            f'{name:<12} labels equal on {100 * each.label_agreement:.3f} %, '
            f'logits within {each.relative_error:.1e} of their range'
        )


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = map(int, text.lower().split('x'))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r}: write it as 480x640') from error
    return height, width
