"""Bad frames, bags, models, parameters, calls and signals in large numbers: ``make fuzz``.

Prints one table, writes ``bench/results/fuzz.json``, from which ``test.robustness.report`` makes
README's table, and ends with status 1 for any crash, hang,
lost valid frame or result of a wrong size.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
import tempfile
from pathlib import Path

import rclpy

from seg_ros import segmenter
from seg_ros.node.runtime import use_large_image_profile
from test.conftest import write_primary_model
from test.robustness.bag_files import fuzz_bag_files
from test.robustness.frames import fuzz_bags, fuzz_decoder
from test.robustness.image_files import fuzz_image_files
from test.robustness.live_frames import fuzz_node
from test.robustness.live_parameters import fuzz_parameters
from test.robustness.live_services import fuzz_services
from test.robustness.model_files import fuzz_model_files
from test.robustness.signals import fuzz_signals
from test.robustness.tally import save_result, table

_MAX_GROWTH_MB = 64.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--cases', type=int, default=20_000, help='at least so many in total')
    cases = parser.parse_args().cases
    faulthandler.dump_traceback_later(3600, exit=True)  # a hang that no other limit ends
    load_before = os.getloadavg()[0]
    use_large_image_profile()
    rclpy.init()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = write_primary_model(folder / 'model')
        net = segmenter.load(model, backend='onnxruntime')
        tallies = fuzz_decoder(net, cases // 3)
        tallies += fuzz_image_files(folder / 'pictures', cases // 10)
        tallies += fuzz_bags(folder, max(60, cases // 15))
        tallies += fuzz_bag_files(folder, max(40, cases // 50))
        for backend in ('onnxruntime', 'openvino'):
            tallies += fuzz_model_files(folder / backend, max(20, cases // 100), backend)
        live = {}
        for transport in ('raw', 'compressed'):
            tally, live[transport] = fuzz_node(model, max(20, cases // 25), transport)
            tallies.append(tally)
        tally, live['parameters'] = fuzz_parameters(folder / 'live', max(20, cases // 25))
        tallies.append(tally)
        tally, live['services'] = fuzz_services(folder / 'services', max(20, cases // 50))
        tallies.append(tally)
        for backend in ('onnxruntime', 'openvino'):
            tallies.append(fuzz_signals(folder / backend, max(5, cases // 800), backend))
    rclpy.try_shutdown()
    print(table(tallies))
    print(f'\n{sum(tally.cases for tally in tallies)} cases; the live nodes: {live}')
    grown = [tally.name for tally in tallies if tally.growth_mb > _MAX_GROWTH_MB]
    if grown:
        print(f'memory grew: {", ".join(grown)}')
    losses = sum(tally.losses for tally in tallies)
    save_result(
        'fuzz',
        {
            'cases': sum(tally.cases for tally in tallies),
            'losses': losses,
            'tallies': [tally.to_json() for tally in tallies],
            'live': live,
        },
        load_before,
    )
    return 1 if losses or grown else 0


if __name__ == '__main__':
    sys.exit(main())
