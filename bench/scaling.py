"""What more cameras, larger images and more classes cost.

Every case differs in one thing from the base: one camera of 640x480, a net of 640x480 and four
classes. All are fed in turns in one run.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contestant import LABEL_MASK, Contestant, seg_ros_node
from bench.end_to_end import QUICK, Plan, summary
from bench.frames import VGA
from bench.model_folders import NUM_CLASSES
from bench.rates import Pace, find_pace, find_peak
from bench.record import Record, add_common_arguments
from bench.rig import Rig, Stream
from seg_ros.model_export import write_random_model

QUARTER_VGA, FOUR_TIMES_VGA = (240, 320), (960, 1280)
CAMERAS = (1, 2, 4)


@dataclass(frozen=True)
class Case:
    """One node and the images that it gets."""

    label: str
    node: Contestant
    size_hw: tuple[int, int] = VGA


def cases(scratch: Path, net: str) -> list[Case]:
    """List what is measured, the base first; all with random weights."""
    base = str(write_random_model(scratch / 'base', net, VGA, NUM_CLASSES).folder)
    small = write_random_model(scratch / 'small', net, QUARTER_VGA, NUM_CLASSES)
    many = write_random_model(scratch / 'many', net, VGA, 4 * NUM_CLASSES)
    one, *more = (seg_ros_node(f'cameras_{n}', '', base, cameras=n) for n in CAMERAS)
    return [
        Case('base', one),
        *(Case(f'{len(node.cameras)} cameras', node) for node in more),
        Case('images of four times the pixels, same net', one, FOUR_TIMES_VGA),
        Case(
            'images and input of the net of a quarter of the pixels',
            seg_ros_node('small', '', str(small.folder)),
            QUARTER_VGA,
        ),
        Case('four times the classes', seg_ros_node('many', '', str(many.folder))),
    ]


def measure(rig: Rig, found: list[Case], plan: Plan, record: Record) -> list[dict[str, Any]]:
    """Latency and peak rate of every case."""
    paces = [find_pace(rig, case.node, case.size_hw) for case in found]
    streams: list[list[Stream]] = [[] for _ in found]
    for number in range(plan.rounds):
        for case, pace, into in zip(found, paces, streams, strict=True):
            rate_hz = pace.idle_hz / len(case.node.cameras)
            frames = pace.frames(rate_hz, plan.slot_s)
            into.append(rig.stream(case.node, case.size_hw, rate_hz, frames))
        record.progress(f'round {number + 1} of {plan.rounds}')
    rows = []
    for case, into in zip(found, streams, strict=True):
        figures = summary(into, (LABEL_MASK,))
        pace = Pace(figures['p50_ms'])
        peak = find_peak(rig, case.node, case.size_hw, pace, seconds=plan.peak_s)
        rows.append({'case': case.label, **figures, 'peak_hz': peak.rate_hz})
        record.progress(
            f'{case.label}: p50 {figures["p50_ms"]:.1f} ms, peak {peak.rate_hz:.1f} Hz in all'
        )
    return rows


def main() -> None:
    """Measure all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument('--net', default='mini_unet')
    args = parser.parse_args()
    plan = QUICK if args.quick else Plan(rounds=3, slot_s=2.0, peak_s=1.5)
    record = Record('scaling', args.quick)
    with tempfile.TemporaryDirectory() as scratch, Rig() as rig:
        found = cases(Path(scratch), args.net)
        started = set()
        for case in found:
            if case.node.name not in started:
                rig.start(case.node)
                started.add(case.node.name)
        record.progress(f'{len(started)} nodes are up')
        rows = measure(rig, found, plan, record)
    record.write({'net': args.net, 'cases': rows}, args.results)


if __name__ == '__main__':
    main()
