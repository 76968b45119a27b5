"""What the worker takes out of the slots; patience is an hour here, a wait in vain would show."""

from __future__ import annotations

import threading

import pytest

from seg_ros.node.mailbox import Mailbox

HOUR_S = 3600.0
CAMERAS = ('front', 'rear', 'third')


@pytest.fixture
def mailbox():
    mailbox = Mailbox()
    mailbox.open()
    return mailbox


def put(mailbox, *cameras):
    for camera in cameras:
        mailbox.put(camera, camera.upper())


def take(mailbox, patience_s=HOUR_S):
    return list(mailbox.take(len(CAMERAS), patience_s))


def test_nobody_is_awaited_who_never_sent(mailbox):
    put(mailbox, 'front')
    assert take(mailbox) == ['front']
    put(mailbox, 'front', 'rear')
    assert take(mailbox) == ['front', 'rear']


def test_cameras_that_send_are_awaited(mailbox):
    put(mailbox, *CAMERAS)
    assert take(mailbox) == list(CAMERAS)
    put(mailbox, 'rear', 'third')
    taken = []
    worker = threading.Thread(target=lambda: taken.extend(take(mailbox)))
    worker.start()
    worker.join(0.1)
    assert not taken
    put(mailbox, 'front')
    worker.join()
    assert taken == ['rear', 'third', 'front']


def test_one_that_fell_silent_costs_one_wait_and_is_awaited_again_once_it_sends(mailbox):
    put(mailbox, *CAMERAS)
    take(mailbox)
    put(mailbox, 'front', 'rear')
    assert take(mailbox, patience_s=0.01) == ['front', 'rear']  # third let them wait in vain
    for _ in range(3):
        put(mailbox, 'front', 'rear')
        assert take(mailbox) == ['front', 'rear']
    put(mailbox, 'third')
    assert take(mailbox, patience_s=0.01) == ['third']
    put(mailbox, 'third', 'front', 'rear')
    assert take(mailbox) == ['third', 'front', 'rear']


def test_a_frame_that_waited_for_the_engine_does_not_wait_again(mailbox):
    put(mailbox, 'front', 'rear')
    take(mailbox)
    put(mailbox, 'front')
    threading.Event().wait(0.2)  # the engine is busy
    mailbox.put('front', 'newer')
    assert mailbox.take(len(CAMERAS), 0.1) == {'front': 'newer'}


def test_a_closed_mailbox_forgets_who_sent(mailbox):
    put(mailbox, *CAMERAS)
    mailbox.close()
    assert mailbox.take(len(CAMERAS), HOUR_S) is None
    mailbox.open()
    put(mailbox, 'front')
    assert take(mailbox) == ['front']
