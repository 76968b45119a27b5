"""Models come and go in a process that handles signals."""

import subprocess
import sys

import pytest

from test.conftest import write_primary_model

CODE = """
import gc, signal, subprocess, sys
from seg_ros.segmenter import load

signal.signal(signal.SIGCHLD, lambda *_: None)
first, second = (load(sys.argv[1], backend='openvino') for _ in range(2))
first.warm_up(), second.warm_up()
del first
gc.collect()
del second
gc.collect()
for _ in range(20):
    subprocess.run(['true'])
print('alive')
"""


def test_a_signal_after_two_models_went_does_not_end_the_process(tmp_path):
    pytest.importorskip('openvino', reason='openvino is not installed')
    model = write_primary_model(tmp_path / 'primary')
    done = subprocess.run(
        [sys.executable, '-c', CODE, str(model)], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith('alive'), done
