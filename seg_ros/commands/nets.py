"""Print what the nets cost: parameters, multiplications and time per frame in every backend.

The weights are random; they do not change what a frame costs.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import re
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

BEGIN, END = '<!-- nets:begin -->', '<!-- nets:end -->'
_WARM_UP = 2


@dataclass(frozen=True)
class Cost:
    """One row of the table; ``latency_ms`` maps a backend to its median per frame."""

    name: str
    parameters: int
    gmac: float
    latency_ms: dict[str, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('names', nargs='*', help='nets to show; all of them if omitted')
    parser.add_argument('--num-classes', type=int, default=11)
    parser.add_argument('--height', type=int, default=480)
    parser.add_argument('--width', type=int, default=640)
    parser.add_argument(
        '--frames', type=int, default=10, help='frames to time in each backend; 0 times none'
    )
    parser.add_argument(
        '--threads', type=int, default=0, help="0 leaves it to the engine's choice"
    )
    parser.add_argument(
        '--write', type=Path, metavar='FILE', help=f'replace the block between {BEGIN} and {END}'
    )


def run(args: argparse.Namespace) -> int:
    """Measure and print the table, as Markdown."""
    from seg_ros.nets import NETS

    for chatty in ('onnx_ir', 'onnxscript'):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    if args.write is not None:
        _split_at_block(args.write)  # fails now rather than after minutes of measuring
    size_hw = (args.height, args.width)
    load = os.getloadavg()[0]
    costs = [
        measure(name, args.num_classes, size_hw, args.frames, args.threads)
        for name in args.names or sorted(NETS)
    ]
    conditions = f'{args.num_classes} classes, {args.height}x{args.width} pixels, batch 1, fp32'
    threads = args.threads or f"the engine's choice of {os.cpu_count()}"
    if args.frames:
        conditions += (
            f'; median of {args.frames} frames. {machine()}; threads: {threads}; '
            f'load average {load:.1f} before the start'
        )
    text = f'{to_markdown(costs)}\n\n{conditions}.'
    print(text)
    if args.write is not None:
        before, after = _split_at_block(args.write)
        args.write.write_text(f'{before}{BEGIN}\n{text}\n{END}{after}', encoding='utf-8')
    return 0


def measure(
    name: str, num_classes: int, size_hw: tuple[int, int], frames: int, num_threads: int
) -> Cost:
    """Write a net with random weights and measure it.

    Args:
        name: Key of ``NETS``.
        num_classes: Number of logit channels.
        size_hw: Rows and columns of the image.
        frames: How many frames to time in each backend; 0 for none.
        num_threads: Threads that an engine may use; 0 leaves the choice to it.
    """
    from seg_ros.nets import build_net
    from seg_ros.nets.cost import count_gmac, count_parameters

    net = build_net(name, num_classes)
    parameters, gmac = count_parameters(net), count_gmac(net, size_hw)
    latency_ms = _latencies(name, num_classes, size_hw, frames, num_threads) if frames else {}
    return Cost(name, parameters, gmac, latency_ms)


def _latencies(
    name: str, num_classes: int, size_hw: tuple[int, int], frames: int, num_threads: int
) -> dict[str, float]:
    from seg_ros.backends import BACKENDS, is_installed, load_backend
    from seg_ros.model_export import write_random_model

    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    with tempfile.TemporaryDirectory() as scratch:
        card = write_random_model(Path(scratch) / name, name, size_hw, num_classes)
        result = {}
        for backend in filter(is_installed, BACKENDS):
            engine = load_backend(backend, card, precision='fp32', num_threads=num_threads)
            times_ms = []
            for _ in range(_WARM_UP + frames):
                start = time.perf_counter()
                engine.infer(image)
                times_ms.append(1e3 * (time.perf_counter() - start))
            result[backend] = float(np.median(times_ms[_WARM_UP:]))
    return result


def to_markdown(costs: list[Cost]) -> str:
    """Lay out rows as a Markdown table."""
    backends = list(costs[0].latency_ms) if costs else []
    heads = ['net', 'parameters', 'GMAC', *(f'{backend} ms' for backend in backends)]
    lines = [f'| {" | ".join(heads)} |', '|---|' + '---:|' * (len(heads) - 1)]
    for cost in costs:
        cells = [f'`{cost.name}`', f'{cost.parameters:,}', f'{cost.gmac:.2f}']
        cells += [f'{cost.latency_ms[backend]:.1f}' for backend in backends]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def machine() -> str:
    """Processor and versions that a measurement belongs to."""
    from seg_ros.backends import BACKENDS, is_installed

    info = Path('/proc/cpuinfo')
    text = info.read_text(encoding='utf-8') if info.is_file() else ''
    found = re.search(r'model name\s*:\s*(.+)', text)
    processor = found.group(1).strip() if found else platform.processor() or platform.machine()
    versions = ', '.join(f'{name} {version(name)}' for name in filter(is_installed, BACKENDS))
    return f'{processor}, {os.cpu_count()} cores; {versions}'


def _split_at_block(path: Path) -> tuple[str, str]:
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist')
    before, begin, rest = path.read_text(encoding='utf-8').partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f'{path} has no block from {BEGIN} to {END}')
    return before, after
