"""Start of the node: import, process start to the first published label, and memory.

Measured from outside: a camera process publishes frames at 30 Hz from before the node is up, a
consumer process waits for the first label mask.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from typing import Any

from bench.contestant import seg_ros_node
from bench.frames import VGA
from bench.processes import usage_of
from bench.rates import find_pace
from bench.record import ROOT, Record, add_common_arguments
from bench.rig import Rig
from seg_ros.backends import BACKENDS, is_installed

STEADY_FRAMES = 10
# What is imported -> what of it; the first is what any Python process costs.
IMPORTS = {
    'nothing': 'pass',
    'rclpy': 'import rclpy',
    'the node': 'import seg_ros.node.segmentation_node',
    'the node with openvino': 'import seg_ros.node.segmentation_node, seg_ros.backends.openvino',
    'the node with onnxruntime': (
        'import seg_ros.node.segmentation_node, seg_ros.backends.onnxruntime'
    ),
    'the node with torch': 'import seg_ros.node.segmentation_node, seg_ros.backends.torch_eager',
}


def measure_import(code: str) -> dict[str, float]:
    """Seconds from the start of an interpreter to the end of an import, and MB of memory."""
    program = f'{code}\nprint("done", flush=True)\ninput()'
    start = time.monotonic()
    with subprocess.Popen(
        [sys.executable, '-c', program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline() != 'done\n':
            raise RuntimeError(f'{code!r} failed')
        seconds = time.monotonic() - start
        memory = usage_of(process.pid)
        process.communicate('\n')
    return {'seconds': seconds, 'rss_mb': memory.rss_mb}


def measure_start(model: str, backend: str) -> dict[str, Any]:
    """One start of the node, and its memory after some frames."""
    node = seg_ros_node(f'start_{backend}', backend, model, backend=backend)
    with Rig() as rig:
        first_label_s = rig.start(node)
        pace = find_pace(rig, node, VGA)
        stream = rig.stream(node, VGA, pace.idle_hz, STEADY_FRAMES, with_times=True)
    said = stream.diagnostics[-1] if stream.diagnostics else {}
    return {
        'first_label_s': first_label_s,
        'rss_mb': stream.memory.rss_mb,
        'peak_rss_mb': stream.memory.peak_rss_mb,
        'precision': said.get('precision', ''),
    }


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Median of the numbers; of what is no number, the last."""
    return {
        key: statistics.median(run[key] for run in runs) if isinstance(value, float) else value
        for key, value in runs[-1].items()
    }


def main() -> None:
    """Measure imports and every installed engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument('--model', default='robocup_mini_unet')
    parser.add_argument('--repeats', type=int, default=0, help='0: three, or one with --quick')
    args = parser.parse_args()
    repeats = args.repeats or (1 if args.quick else 3)
    record = Record('startup', args.quick)
    engines = [name for name in BACKENDS if is_installed(name)]
    wanted = {
        name: code
        for name, code in IMPORTS.items()
        if not any(name.endswith(each) for each in BACKENDS if each not in engines)
    }
    imports: dict[str, list[dict[str, Any]]] = {name: [] for name in wanted}
    starts: dict[str, list[dict[str, Any]]] = {name: [] for name in engines}
    for number in range(repeats):
        for name, code in wanted.items():
            imports[name].append(measure_import(code))
        for name in engines:
            starts[name].append(measure_start(args.model, name))
        record.progress(f'round {number + 1} of {repeats}')
    results = {
        'model': args.model,
        'repeats': repeats,
        'imports': {name: medians(runs) for name, runs in imports.items()},
        'starts': {name: medians(runs) for name, runs in starts.items()},
    }
    for name, row in results['starts'].items():
        print(
            f'{name:<12} {row["precision"]:<5} first label {row["first_label_s"]:5.2f} s, '
            f'{row["rss_mb"]:4.0f} MB, peak {row["peak_rss_mb"]:4.0f} MB'
        )
    record.write(results, args.results)


if __name__ == '__main__':
    main()
