from __future__ import annotations

import pytest

from test.node.conftest import _ros_context  # noqa: F401 - a fixture
from test.robustness.live_parameters import fuzz_parameters
from test.robustness.tally import table

pytestmark = pytest.mark.ros


def test_whatever_strangers_set_the_node_answers_and_serves(tmp_path):
    tally, facts = fuzz_parameters(tmp_path, 100)
    assert not tally.losses, table([tally])
    assert tally.served
    assert tally.rejected
    assert facts['threads_gained'] <= 0
    assert facts['file_handles_gained'] <= 0
