from __future__ import annotations

import pytest

from test.conftest import stripes
from test.node.conftest import (  # noqa: F401 - fixtures
    _ros_context,
    image_message,
    robot,
    segmentation,
)
from test.robustness.live_frames import fuzz_node, settled
from test.robustness.tally import table

pytestmark = pytest.mark.ros


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_bad_frames_are_counted_and_every_valid_one_is_served(primary_model, transport):
    tally, facts = fuzz_node(primary_model, 40, transport)
    assert not tally.losses, table([tally])
    assert tally.served
    assert tally.rejected
    assert facts['threads_gained'] <= 0
    assert facts['file_handles_gained'] <= 0


@pytest.mark.parametrize('stamp', [(0, 0), (-5, 1), (-(2**31), 2**32 - 1), (2**31 - 1, 0)])
def test_any_stamp_is_served_and_counted_once(robot, segmentation, stamp):  # noqa: F811
    robot.listen('/segmentation/label_mask')
    before = robot.diagnostics('/segmentation', settled)[1]
    message = image_message(stripes()[0], robot.header())
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    robot.ask(robot.camera(), message, '/segmentation/label_mask')
    received = str(int(before['received']) + 1)
    _, after = robot.diagnostics(
        '/segmentation', lambda values: values['received'] == received and settled(values)
    )
    assert after['rejected'] == before['rejected']
    assert int(after['published']) == int(before['published']) + 1
