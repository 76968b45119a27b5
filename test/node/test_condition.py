"""The state machine alone: events and times in, a verdict out; no ROS, no clock."""

from __future__ import annotations

import pytest

from seg_ros.node.condition import (
    ARRIVES_WITHIN_S,
    COMPLAINT_S,
    LOSS_WINDOW_S,
    Condition,
    Level,
    Limits,
    State,
)

LIMITS = Limits(warn_processing_time_ms=100, error_consecutive_delay_ms=1000, error_stalled_s=5)
LATE_S = ARRIVES_WITHIN_S + 0.1


def judged(condition, now_s, rejected=0, limits=LIMITS):
    verdict = condition.judge(now_s, limits, rejected)
    return verdict.state, verdict.level, verdict.message


def state_at(condition, now_s, limits=LIMITS):
    return condition.judge(now_s, limits, 0).state


@pytest.fixture
def active():
    """An active node with two cameras that have publishers since 0 s."""
    condition = Condition()
    condition.is_configured = True
    condition.activate(['front', 'rear'], 0.0)
    for camera in condition.cameras.values():
        camera.see_publishers(1, 0.0)
    return condition


def frames(condition, now_s, cameras=('front', 'rear')):
    for topic in cameras:
        condition.cameras[topic].see_frame(now_s)


def publish(condition, now_s, took_ms=20.0, latency_ms=None, invalid_px=0):
    frames(condition, now_s)
    times = {'processing_time_ms': took_ms}
    condition.record_frame(now_s, times, latency_ms, invalid_px, LIMITS)


def test_a_node_that_was_never_configured_says_so():
    assert judged(Condition(), 1e6) == (State.INACTIVE, Level.WARN, 'not configured')


def test_a_refusal_is_told_with_its_reason_until_something_succeeds():
    condition = Condition()
    condition.refusal = "configure failed: no model 'x'"
    assert judged(condition, 1e6) == (State.REFUSED, Level.ERROR, "configure failed: no model 'x'")
    condition.refusal, condition.is_configured = '', True
    assert judged(condition, 1e6) == (State.INACTIVE, Level.OK, 'inactive')


def test_an_inactive_node_is_well_however_slow_and_long_ago_its_last_frame_was(active):
    publish(active, 1, took_ms=5000)
    assert state_at(active, 1) is State.SLOW
    active.deactivate()
    for now_s in (2, 1000):
        assert judged(active, now_s) == (State.INACTIVE, Level.OK, 'inactive')
        assert active.figures(now_s, LIMITS) is None


def test_a_disabled_node_is_well(active):
    active.is_enabled = False
    assert judged(active, 1000) == (State.INACTIVE, Level.OK, 'disabled')


def test_without_a_publisher_it_waits_and_warns_when_that_lasts():
    condition = Condition()
    condition.is_configured = True
    condition.activate(['front'], 10)
    text = 'nobody publishes front'
    assert judged(condition, 11) == (State.WAITING, Level.OK, text)
    assert judged(condition, 10 + LATE_S) == (State.WAITING, Level.WARN, text)


def test_a_publisher_from_which_nothing_arrives_is_told_within_ten_seconds(active):
    assert judged(active, 1) == (State.RUNNING, Level.OK, 'ready')
    state, level, message = judged(active, LATE_S)
    assert (state, level) == (State.SILENT, Level.WARN)
    assert 'front has a publisher and nothing arrived' in message
    assert ARRIVES_WITHIN_S + 1 < 10  # it is judged once a second


def test_a_late_publisher_has_its_time_from_then_on():
    condition = Condition()
    condition.is_configured = True
    condition.activate(['front'], 0)
    condition.cameras['front'].see_publishers(1, 100)
    assert state_at(condition, 101) is State.RUNNING
    assert state_at(condition, 100 + LATE_S) is State.SILENT


def test_of_several_cameras_the_one_that_is_unwell_is_told(active):
    frames(active, LATE_S, ['front'])
    verdict = active.judge(LATE_S, LIMITS, 0)
    assert (verdict.state, verdict.camera) == (State.SILENT, 'rear')
    frames(active, LATE_S, ['rear'])
    assert state_at(active, LATE_S) is State.RUNNING


def test_a_camera_that_stops_is_stalled_and_one_that_leaves_is_waited_for(active):
    publish(active, 10)
    assert judged(active, 14) == (State.RUNNING, Level.OK, 'segmenting')
    assert judged(active, 16) == (State.STALLED, Level.ERROR, 'no frame of front came for 6 s')
    active.cameras['front'].see_publishers(0, 16)
    frames(active, 16 + LATE_S, ['rear'])
    assert state_at(active, 16 + LATE_S) is State.WAITING
    active.cameras['front'].see_publishers(1, 30)
    frames(active, 30)
    assert state_at(active, 30) is State.RUNNING


@pytest.mark.parametrize(
    ('arrive', 'lost', 'is_told'), [(3, 7, True), (80, 8, False), (20, 2, False)]
)
def test_a_camera_of_which_much_is_lost_is_told_as_long_as_that_lasts(
    active, arrive, lost, is_told
):
    front, start_s = active.cameras['front'], LOSS_WINDOW_S + 1
    front.see_frame(start_s)  # a window begins
    for index in range(arrive - 1):
        front.see_frame(start_s + index * 9 / arrive)
    front.see_loss(lost, start_s + 9)
    now_s = start_s + LOSS_WINDOW_S + 0.5
    frames(active, now_s)
    verdict = active.judge(now_s, LIMITS, 0)
    assert (verdict.state is State.LOSSY) == is_told
    if is_told:
        assert verdict.level == Level.WARN
        assert verdict.message == f'front: {lost} of {arrive + lost} frames were lost in 10 s'
    now_s += LOSS_WINDOW_S + 0.5
    frames(active, now_s)
    assert state_at(active, now_s) is State.RUNNING


def test_figures_are_those_of_frames_that_come_and_go_with_them(active):
    publish(active, 10, took_ms=20)
    assert active.figures(14, LIMITS).times_ms == {'processing_time_ms': 20}
    assert active.figures(16, LIMITS) is None
    publish(active, 20)
    active.forget_frames()  # another model
    assert active.figures(20, LIMITS) is None


def test_slow_frames_warn_and_one_after_the_other_is_an_error(active):
    publish(active, 10, took_ms=150)
    assert judged(active, 10) == (State.SLOW, Level.WARN, 'the last frame took too long')
    publish(active, 10.5, took_ms=150)
    assert judged(active, 10.5)[1] == Level.WARN
    publish(active, 11, took_ms=150)
    assert judged(active, 11) == (
        State.SLOW,
        Level.ERROR,
        'every frame took too long for 1.2 s',
    )
    publish(active, 11.1)
    assert judged(active, 11.1) == (State.RUNNING, Level.OK, 'segmenting')


def test_one_slow_frame_and_silence_is_no_delay_that_rises(active):
    publish(active, 10, took_ms=150)
    assert active.figures(14, LIMITS).delay_ms == pytest.approx(150)
    assert judged(active, 14)[:2] == (State.SLOW, Level.WARN)
    assert judged(active, 100)[0] is State.STALLED  # of the camera, not of slowness
    publish(active, 100, took_ms=150)  # what was before the silence does not count
    assert active.figures(100, LIMITS).delay_ms == pytest.approx(150)


def test_an_engine_that_does_not_come_back_is_stalled_in_every_phase(active):
    frames(active, 10)
    active.begin_frame(10)
    frames(active, 14)
    assert state_at(active, 14) is State.RUNNING
    assert judged(active, 16) == (State.STALLED, Level.ERROR, 'a frame is in work for 6 s')
    active.deactivate()
    assert state_at(active, 17) is State.STALLED
    active.end_frame()
    assert state_at(active, 18) is State.INACTIVE


@pytest.mark.parametrize(
    ('limits', 'level'),
    [
        ({'warn_latency_ms': 50}, Level.WARN),
        ({'warn_latency_ms': 50, 'error_latency_ms': 60}, Level.ERROR),
        ({'warn_latency_ms': 90}, Level.OK),
        ({}, Level.OK),
    ],
)
def test_old_labels_are_told_where_there_is_a_limit(active, limits, level):
    publish(active, 10, latency_ms=80.0)
    state, found, message = judged(active, 10, limits=Limits(**limits))
    assert found == level
    if level != Level.OK:
        assert (state, message) == (State.SLOW, 'labels are 80 ms old')


def test_rejected_frames_are_told_for_the_second_in_which_they_came(active):
    publish(active, 10)
    assert judged(active, 10, rejected=3) == (
        State.RUNNING,
        Level.WARN,
        '3 frames rejected in the last second',
    )
    assert judged(active, 11, rejected=3)[1] == Level.OK
    assert judged(active, 12, rejected=4)[2].startswith('1 frames')


def test_pixels_without_a_number_are_told(active):
    publish(active, 10, invalid_px=7)
    state, level, message = judged(active, 10)
    assert (state, level) == (State.RUNNING, Level.WARN)
    assert 'NaN or infinity for 7 pixels' in message
    publish(active, 11)
    assert judged(active, 11)[1] == Level.OK


def test_a_refused_model_is_told_for_a_while_only_as_the_old_one_is_well(active):
    publish(active, 10)
    active.complain('model x was refused', 10)
    assert judged(active, 10) == (State.RUNNING, Level.WARN, 'model x was refused')
    publish(active, 10 + COMPLAINT_S + 1)
    assert judged(active, 10 + COMPLAINT_S + 1)[1] == Level.OK
    active.complain('again', 30)
    active.complain('', 31)
    publish(active, 31)
    assert judged(active, 31)[1] == Level.OK


def test_that_nobody_listens_is_said_and_troubles_of_cameras_are_told_all_the_same(active):
    active.has_listener = False
    frames(active, 4)
    assert judged(active, 4) == (State.RUNNING, Level.OK, 'nobody listens to any output')
    assert state_at(active, 20) is State.STALLED
