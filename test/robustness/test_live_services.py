from __future__ import annotations

import pytest

from test.node.conftest import _ros_context  # noqa: F401 - a fixture
from test.robustness.live_services import fuzz_services
from test.robustness.signals import fuzz_signals
from test.robustness.tally import table

pytestmark = pytest.mark.ros


def test_calls_in_any_order_and_changing_folders_leave_a_node_that_serves(tmp_path):
    tally, facts = fuzz_services(tmp_path, 20)
    assert not tally.losses, table([tally])
    assert tally.served
    assert tally.rejected
    assert facts['threads_gained'] <= 2  # of models that failed and wait for the collector
    assert facts['file_handles_gained'] <= 0


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_a_signal_at_any_moment_ends_the_node_in_order(tmp_path, backend):
    tally = fuzz_signals(tmp_path, 4, backend)
    assert not tally.losses, table([tally])
