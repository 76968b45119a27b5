from __future__ import annotations

import pytest

from seg_ros.node.freshness import RateLimit


@pytest.mark.parametrize(
    ('camera_hz', 'max_rate_hz', 'expected'), [(30, 10, 10), (30, 20, 20), (30, 0, 30), (5, 10, 5)]
)
def test_the_mean_rate_is_kept(camera_hz, max_rate_hz, expected):
    limit = RateLimit()
    passed = sum(limit.admits(max_rate_hz, 1000 + i / camera_hz) for i in range(10 * camera_hz))
    assert passed == pytest.approx(10 * expected, abs=1)


def test_a_pause_earns_no_burst():
    limit = RateLimit()
    assert [limit.admits(1.0, now) for now in (50.0, 50.1, 90.0, 90.1, 90.9, 91.0)] == [
        True, False, True, False, False, True,
    ]  # fmt: skip
