"""A goal is judged by its figures, and what is missed says by how much."""

from __future__ import annotations

import pytest

from bench.goals import FIRST_SCENE, judge, times_faster
from bench.record import percentiles


def node(rounds_ms, *, p99_ms=None, peak_hz=40.0, overload_ms=30.0):
    p50 = sorted(rounds_ms)[len(rounds_ms) // 2]
    return {
        'p50_by_round_ms': rounds_ms,
        'p50_ms': p50,
        'p95_ms': p50,
        'p99_ms': p99_ms or p50,
        'max_ms': p99_ms or p50,
        'samples': 100,
        'peak_hz': peak_hz,
        'overload': {
            'p50_ms': overload_ms,
            'p95_ms': overload_ms,
            'samples': 50,
            'offered_hz': 80.0,
            'answered_share': 0.5,
        },
    }


def account(inference_ms, around_ms):
    share = around_ms / inference_ms
    return {
        'backend': 'openvino',
        'precision': 'int8',
        'preprocess_time_ms': 0.1,
        'inference_time_ms': inference_ms,
        'postprocess_time_ms': 0.2,
        'publish_time_ms': 0.3,
        'transport_ms': 1.0,
        'latency_ms': inference_ms + around_ms,
        'around_by_node_share': share,
        'around_by_stamp_share': share,
    }


def results(ours, theirs, around_ms=2.0, over_floor=1.2):
    return {
        'end_to_end': {
            'conditions': {'load_average_before': 0.1},
            'titles': {'seg_ros_mini_unet': 'seg_ros, mini-UNet', 'naive_smp_unet': 'naive'},
            'scenes': {FIRST_SCENE: {'seg_ros_mini_unet': ours, 'naive_smp_unet': theirs}},
            'accounts': {'seg_ros_mini_unet': account(18.0, around_ms)},
        },
        'net_only': {
            'threads': {
                '2': {
                    'nets': {
                        'robocup_mini_unet': {
                            'net': 'mini_unet',
                            'refused': {},
                            'engines': {
                                'openvino int8': {
                                    'ms': 10.0 * over_floor,
                                    'floor_ms': 10.0,
                                    'over_floor': over_floor,
                                }
                            },
                        }
                    }
                }
            },
            'profiles': {'robocup_mini_unet int8': {'Convolution (brgemm)': 9.0}},
        },
    }


def test_ratios_are_taken_between_neighbouring_rounds():
    # the second round ran under load, on both sides
    assert times_faster(node([10, 30, 10]), node([150, 450, 160])) == 15


def test_everything_is_met():
    findings = judge(results(node([20, 20, 20]), node([320, 300, 310])))
    judged = [each for each in findings if each.is_met is not None]
    assert len(judged) == 6  # ratio, around by two clocks, tail, floor, overload
    assert all(each.is_met for each in judged)
    # of LinkNet there are no figures
    assert [each.measured for each in findings if each.is_met is None] == ['not measured']


@pytest.mark.parametrize(
    ('changed', 'goal', 'missed_by', 'cause'),
    [
        ({'theirs': node([150, 150, 150])}, 'at least 15x', '100 % too long', 'int8 takes 18.0'),
        ({'around_ms': 4.5}, 'around the net', '10 % of the net', 'DDS'),
        ({'ours': node([20, 20, 20], p99_ms=40)}, 'p99', '10.0 ms', 'load average'),
        ({'over_floor': 1.5}, 'arithmetic floor', '1.5 ms', 'brgemm'),
        ({'ours': node([20, 20, 20], overload_ms=50)}, 'overload', '5.0 ms', '50 %'),
    ],
)
def test_a_missed_goal_says_by_how_much_and_why(changed, goal, missed_by, cause):
    given = {'ours': node([20, 20, 20]), 'theirs': node([320, 320, 320]), **changed}
    missed = [each for each in judge(results(**given)) if each.is_met is False]
    assert missed
    assert all(goal in each.goal for each in missed)
    assert all(missed_by in each.missed_by for each in missed)
    assert all(cause in each.cause for each in missed)


def test_percentiles():
    found = percentiles([float(value) for value in range(1, 102)])
    assert found == {'p50_ms': 51, 'p95_ms': 96, 'p99_ms': 100, 'max_ms': 101, 'samples': 101}
    assert percentiles([]) == {'samples': 0}
