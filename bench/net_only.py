"""The nets alone: every engine, precision and number of threads, beside torch eager.

Every shipped model, and with random weights the nets that none of them has. The engines of one
net run in turns, so that other load on the machine hits all alike; between them the arithmetic
peak of the machine is measured, with which the floor of a net is computed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.floor import Peak
from bench.frames import VGA, read_frames
from bench.model_folders import NUM_CLASSES, add_int8_variant, shipped_models
from bench.record import Record, add_common_arguments
from seg_ros.backends import Backend, load_backend
from seg_ros.backends.openvino import shared_core
from seg_ros.model_card import ModelCard
from seg_ros.model_export import write_random_model
from seg_ros.nets.cost import count_gmac
from seg_ros.nets.deployed import load_net

NETS = ('linknet', 'mini_unet', 'segnet', 'fast_scnn', 'mobilenet_unet')
QUICK_NETS = ('linknet', 'mini_unet', 'fast_scnn')
REFERENCE = ('torch', 'fp32')
ENGINES = (
    REFERENCE,
    ('onnxruntime', 'fp32'),
    ('onnxruntime', 'int8'),
    ('openvino', 'fp32'),
    ('openvino', 'bf16'),
    ('openvino', 'int8'),
)
PEAKS = ('fp32', 'bf16', 'int8')
_SLOT_S = 0.25  # of one engine in one round
_MAX_SLOT_FRAMES = 20


class Timed:
    """One model in one engine, and its times."""

    def __init__(self, card: ModelCard, name: str, precision: str, threads: int) -> None:
        self.engine: Backend = load_backend(
            name, card, precision=precision, num_threads=threads, device='cpu'
        )
        self.key = f'{name} {precision}'
        self.rounds_ms: list[float] = []
        self._threads = threads

    def run(self, image_hwc: np.ndarray) -> None:
        """Run a round: the median of what fits into a slot, after one that does not count."""
        self.engine.infer(image_hwc)
        times_ms: list[float] = []
        while not times_ms or (sum(times_ms) < 1e3 * _SLOT_S and len(times_ms) < _MAX_SLOT_FRAMES):
            start = time.perf_counter()
            self.engine.infer(image_hwc)
            times_ms.append(1e3 * (time.perf_counter() - start))
        self.rounds_ms.append(statistics.median(times_ms))


def measure_net(
    card: ModelCard, threads: int, rounds: int, peaks: dict[str, Peak]
) -> dict[str, Any]:
    """Time one model in every engine that can run it with some threads.

    Returns:
        ``engine precision`` -> ``ms``, ``times_faster`` than torch eager (the median of the ratios
        of the rounds), and, against the peak of the precision, ``floor_ms`` and ``over_floor``;
        what cannot run is listed under ``refused`` with the reason.
    """
    spec = card.input
    image = np.ascontiguousarray(read_frames((spec.height_px, spec.width_px), 1)[0][..., ::-1])
    timed: list[Timed] = []
    refused: dict[str, str] = {}
    for name, precision in ENGINES:
        try:
            timed.append(Timed(card, name, precision, threads))
        except ValueError as error:
            refused[f'{name} {precision}'] = str(error)
    for _ in range(rounds):
        for each in timed:
            each.run(image)
        for peak in peaks.values():
            peak.run(1)
    gmac = count_gmac(load_net(card).net, (spec.height_px, spec.width_px))
    reference = timed[0].rounds_ms
    rows: dict[str, Any] = {}
    for each in timed:
        ratios = [slow / fast for slow, fast in zip(reference, each.rounds_ms, strict=True)]
        rows[each.key] = {
            'ms': statistics.median(each.rounds_ms),
            'times_faster': statistics.median(ratios),
        }
    return {'gmac': gmac, 'engines': rows, 'refused': refused}


def add_floors(nets: dict[str, Any], peaks: dict[str, Peak]) -> None:
    """Compare the times with the peaks, once these have been probed for the last time."""
    for net in nets.values():
        for key, row in net['engines'].items():
            peak = peaks.get(key.split()[1])
            if peak is not None:
                row['floor_ms'] = 2e3 * net['gmac'] / peak.gflop_per_s
                row['over_floor'] = row['ms'] / row['floor_ms']


def profile(card: ModelCard, precision: str, threads: int, frames: int = 10) -> dict[str, Any]:
    """What OpenVINO spends the time of a net on: ms per kind of layer and implementation."""
    core = shared_core()
    hint = 'bf16' if precision == 'bf16' else 'f32'
    compiled = core.compile_model(
        core.read_model(card.read_graph(precision)),
        'CPU',
        {
            'PERF_COUNT': True,
            'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_NUM_THREADS': str(threads),
            'INFERENCE_PRECISION_HINT': hint,
        },
    )
    request = compiled.create_infer_request()
    spec = card.input
    image = np.ascontiguousarray(read_frames((spec.height_px, spec.width_px), 1)[0][..., ::-1])
    totals: dict[str, list[float]] = defaultdict(list)
    for _ in range(frames):
        request.infer({'image': image[np.newaxis]})
        spent: dict[str, float] = defaultdict(float)
        for layer in request.get_profiling_info():
            spent[f'{layer.node_type} ({layer.exec_type})'] += layer.real_time.total_seconds()
        for kind, seconds in spent.items():
            totals[kind].append(1e3 * seconds)
    medians = {kind: statistics.median(values) for kind, values in totals.items()}
    return dict(sorted(medians.items(), key=lambda item: -item[1])[:8])


def models(scratch: Path, nets: tuple[str, ...], record: Record) -> list[ModelCard]:
    """The shipped models as they are, and nets with random weights where no model has one."""
    cards = shipped_models()
    there = {card.net for card in cards}
    for net in nets:
        if net not in there:
            card = write_random_model(scratch / f'{net}_random', net, VGA, NUM_CLASSES)
            cards.append(add_int8_variant(card))
            record.progress(f'{net}: random weights, fp32 and int8')
    return cards


def main() -> None:
    """Measure all nets."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument('--nets', nargs='*', default=None, help=f'default: {" ".join(NETS)}')
    parser.add_argument('--rounds', type=int, default=0, help='0: four, or two with --quick')
    args = parser.parse_args()
    rounds = args.rounds or (2 if args.quick else 4)
    chosen = tuple(args.nets or (QUICK_NETS if args.quick else NETS))
    record = Record('net_only', args.quick)
    all_threads = len(os.sched_getaffinity(0))
    results: dict[str, Any] = {'rounds': rounds, 'threads': {}}
    with tempfile.TemporaryDirectory() as scratch:
        cards = models(Path(scratch), chosen, record)
        for threads in sorted({1, all_threads}, reverse=True):
            peaks, missing = {}, {}
            for precision in PEAKS:
                try:
                    peaks[precision] = Peak(precision, threads)
                except ValueError as error:
                    missing[precision] = str(error)
            nets = {}
            for card in cards:
                nets[card.name] = {
                    'net': card.net,
                    'size': f'{card.input.width_px}x{card.input.height_px}',
                    **measure_net(card, threads, rounds, peaks),
                }
                record.progress(f'{threads} threads: {card.name}')
            add_floors(nets, peaks)
            results['threads'][str(threads)] = {
                'peak_gflop_per_s': {name: each.gflop_per_s for name, each in peaks.items()},
                'no_peak': missing,
                'nets': nets,
            }
        results['profiles'] = profiles(cards, all_threads)
    record.write(results, args.results)


def profiles(cards: list[ModelCard], threads: int) -> dict[str, Any]:
    """Profile every model in the precision of its fastest graph."""
    precision = {card.name: 'int8' if 'int8' in card.variants else 'fp32' for card in cards}
    return {
        f'{card.name} {precision[card.name]}': profile(card, precision[card.name], threads)
        for card in cards
    }


if __name__ == '__main__':
    main()
