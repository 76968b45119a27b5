from __future__ import annotations

import pytest

from seg_ros.node import rejection_log
from seg_ros.node.rejection_log import RejectionLog


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(rejection_log.time, 'monotonic', lambda: now[0])
    return now


def test_the_first_is_told_at_once_and_the_others_together(clock):
    lines = []
    log = RejectionLog(lines.append)
    log.add('step')
    for text in ('size', 'size', 'length'):
        log.add(text)
    assert lines == ['step']
    log.flush()
    assert lines == ['step']
    clock[0] += 3
    log.flush()
    log.flush()
    assert lines == ['step', 'size (2 times)', 'length']


def test_many_reasons_are_summed_up(clock):
    lines = []
    log = RejectionLog(lines.append)
    log.add('first')
    for number in range(9):
        log.add(f'reason {number}')
    clock[0] += 3
    log.flush()
    assert len(lines) == 1 + 5 + 1
    assert lines[-1] == '4 more frames rejected for 4 other reasons'
