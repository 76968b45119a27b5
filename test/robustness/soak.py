"""Long runs under load, with faults: ``make soak``.

Prints one table, writes ``bench/results/soak.json``, from which ``test.robustness.report`` makes
README's table, and ends with status 1 for any lost frame,
counter that does not add up, or checkpoint that was lost.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import rclpy

from seg_ros.node.runtime import use_large_image_profile
from seg_ros.segmenter import find_model
from test.robustness.endurance import overload, respawn, soak
from test.robustness.tally import save_result
from test.robustness.training_kills import kill_training
from test.robustness.vitals import MIN_SLOPE_S

_MAX_SLOPE_MB_PER_H = 60.0
# A frame waits for the one in work, and then takes as long: twice the unhurried time, and a bit.
_MAX_OVERLOAD_FACTOR = 3.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=30.0)
    parser.add_argument('--model', default='robocup_mini_unet')
    parser.add_argument('--backend', default='auto')
    parser.add_argument('--training-kills', type=int, default=50)
    args = parser.parse_args()
    load_before = os.getloadavg()[0]
    use_large_image_profile()
    rclpy.init()
    model = find_model(args.model).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {
            'full rate': soak(model, folder, args.minutes * 60, args.backend),
            'overload': overload(model, min(60.0, args.minutes * 20), backend=args.backend),
            'node killed': respawn(model, 5, args.backend),
            'training killed': kill_training(folder, args.training_kills),
        }
    rclpy.try_shutdown()
    problems = list(complaints(found))
    for part, figures in found.items():
        print(f'\n{part}')
        for key, value in figures.items():
            print(f'  {key:24} {value}')
    print(f'\nproblems: {"; ".join(problems) or "none"}')
    save_result('soak', {'model': model.name, 'problems': problems, **found}, load_before)
    return 1 if problems else 0


def complaints(found: dict[str, dict[str, Any]]) -> Any:
    """What must not have happened."""
    full, hurried, killed = found['full rate'], found['overload'], found['training killed']
    if full['lost']:
        yield f'{full["lost"]} valid frames without labels'
    for part in (full, hurried):
        if part['unaccounted']:
            yield f'{part["unaccounted"]} frames unaccounted for'
    if hurried['latency_p50_ms'] > _MAX_OVERLOAD_FACTOR * hurried['unhurried_p50_ms']:
        yield 'under overload frames wait for more than the one in work'
    if full['threads_last'] > full['threads_first'] + 1:
        yield 'threads became more'
    if full['file_handles_last'] > full['file_handles_first'] + 2:
        yield 'file handles became more'
    slope = full['rss_slope_mb_per_h']
    if full['seconds'] >= MIN_SLOPE_S and slope > _MAX_SLOPE_MB_PER_H:
        yield f'memory grows by {slope} MB an hour'
    if killed['lost'] or killed['unreadable']:
        yield 'checkpoints were lost'


if __name__ == '__main__':
    sys.exit(main())
