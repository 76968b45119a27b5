"""Test runs beside one another, and workers of one run, never share a ROS domain."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# says its own domain and that of a process that it starts, and stays until told to go
CODE = """
import subprocess, sys
code = 'import os, test.conftest; print(os.environ["ROS_DOMAIN_ID"])'
exec(code)
sys.stdout.flush()
subprocess.run([sys.executable, '-c', code])
sys.stdin.read()
"""


def run(**environment):
    kept = {k: v for k, v in os.environ.items() if 'XDIST' not in k and 'DOMAIN' not in k}
    return subprocess.Popen(
        [sys.executable, '-c', CODE],
        cwd=ROOT,
        env={**kept, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def domains_of(processes):
    found = []
    for process in processes:
        own, of_child = process.stdout.readline(), process.stdout.readline()
        assert own == of_child
        found.append(int(own))
    for process in processes:
        process.communicate()
    return found


def test_runs_and_their_workers_have_domains_of_their_own():
    runs = [run(), run()]
    # as pytest-xdist starts them: with the environment of the run, and a name
    inherited = {'ROS_DOMAIN_ID': '20', 'SEG_ROS_TESTS_DOMAIN_OWNER': ' '}
    inherited['PYTEST_XDIST_TESTRUNUID'] = 'run'
    workers = [run(**inherited, PYTEST_XDIST_WORKER=f'gw{i}') for i in range(3)]
    found = domains_of(runs + workers)
    assert len(set(found)) == 5, found
    assert all(20 <= domain < 100 for domain in found)


def test_a_domain_that_was_given_is_kept():
    assert domains_of([run(ROS_DOMAIN_ID='7')]) == [7]
