"""A ROS domain id for every process that runs tests, so that no two runs hear one another."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

# Ids from 102 on lie in the range of Linux' ephemeral ports; people use the small ones.
DOMAINS = range(20, 100)
_OWNER = 'SEG_ROS_TESTS_DOMAIN_OWNER'
_held: list[object] = []  # the lock goes with the process


def claim_ros_domain() -> None:
    """Set ``ROS_DOMAIN_ID`` to one that no other test run on this machine has.

    Processes that a test starts keep that of the test. A worker of pytest-xdist inherits the
    environment of the process that started it but takes an id of its own. An id that was given
    by hand holds, except in workers.

    Raises:
        RuntimeError: If all ids are taken.
    """
    worker = os.environ.get('PYTEST_XDIST_WORKER', '')
    identity = f'{os.environ.get("PYTEST_XDIST_TESTRUNUID", "")} {worker}'
    owner = os.environ.get(_OWNER)
    given_by_hand = 'ROS_DOMAIN_ID' in os.environ and owner is None and not worker
    if owner == identity or given_by_hand:
        return
    os.environ[_OWNER] = identity
    os.environ['ROS_DOMAIN_ID'] = str(_lock_domain())


def _lock_domain() -> int:
    """Take the first free id, beginning at one that depends on the process."""
    first = os.getpid() % len(DOMAINS)
    for domain in (*DOMAINS[first:], *DOMAINS[:first]):
        path = Path(tempfile.gettempdir()) / f'seg_ros_test_domain_{domain}.lock'
        try:
            file = path.open('a')
        except PermissionError:  # of another user
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _held.append(file)
        return domain
    raise RuntimeError(f'all ROS domains of {DOMAINS} are taken by other test runs')
