"""What more cameras, larger images and more classes cost.

Every pair is fed in turns in one run: one camera beside two and four, an image beside one of four
times its pixels, few classes beside four times as many.
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
from bench.model_folders import NUM_CLASSES, shipped_models, write_random_model
from bench.rates import Pace, find_pace, find_peak
from bench.record import Record, add_common_arguments
from bench.rig import Rig, Stream

QUARTER_VGA, FOUR_TIMES_VGA = (240, 320), (960, 1280)
CAMERAS = (1, 2, 4)


@dataclass(frozen=True)
class Case:
    """One node and the images it gets."""

    group: str
    label: str
    node: Contestant
    size_hw: tuple[int, int] = VGA


def cases(scratch: Path) -> list[Case]:
    """List what is measured, all with the mini-UNet."""
    shipped = {card.net: card for card in shipped_models()}
    vga = shipped.get('mini_unet') or write_random_model(scratch / 'mini_unet', 'mini_unet')
    small = write_random_model(scratch / 'small_input', 'mini_unet', size_hw=QUARTER_VGA)
    few = write_random_model(scratch / 'few_classes', 'mini_unet')
    many = write_random_model(scratch / 'many_classes', 'mini_unet', num_classes=4 * NUM_CLASSES)
    found = [
        Case(
            'cameras',
            f'{count}',
            seg_ros_node(f'cameras_{count}', f'{count} cameras', str(vga.folder), cameras=count),
        )
        for count in CAMERAS
    ]
    one = found[0].node
    found += [
        Case('camera image', '640x480', one),
        Case('camera image', '1280x960', one, FOUR_TIMES_VGA),
    ]
    quarter = seg_ros_node('small_input', 'input of the net 320x240', str(small.folder))
    found += [
        Case('image and input of the net', '320x240', quarter, QUARTER_VGA),
        Case('image and input of the net', '640x480', one),
    ]
    for label, card in ((NUM_CLASSES, few), (4 * NUM_CLASSES, many)):
        node = seg_ros_node(card.name, f'{label} classes', str(card.folder))
        found.append(Case('classes', f'{label}', node))
    return found


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
        rows.append({'group': case.group, 'case': case.label, **figures, 'peak_hz': peak.rate_hz})
        record.progress(
            f'{case.group} {case.label}: p50 {figures["p50_ms"]:.1f} ms, '
            f'peak {peak.rate_hz:.1f} Hz in all'
        )
    return rows


def main() -> None:
    """Measure all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    args = parser.parse_args()
    plan = QUICK if args.quick else Plan(rounds=3, slot_s=2.0, peak_s=1.5)
    record = Record('scaling', args.quick)
    with tempfile.TemporaryDirectory() as scratch, Rig() as rig:
        found = cases(Path(scratch))
        started = set()
        for case in found:
            if case.node.name not in started:
                rig.start(case.node)
                started.add(case.node.name)
        record.progress(f'{len(started)} nodes are up')
        rows = measure(rig, found, plan, record)
    record.write({'cases': rows}, args.results)


if __name__ == '__main__':
    main()
