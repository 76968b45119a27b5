from __future__ import annotations

import os

import pytest

import seg_ros
from seg_ros import backends
from seg_ros.cpu_quota import cpu_quota


@pytest.fixture(autouse=True)
def _four_processors(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {0, 1, 2, 3})


def write(root, cgroup, **files):
    """A machine's ``proc`` and ``sys`` with control groups."""
    (root / 'proc/self').mkdir(parents=True)
    (root / 'proc/self/cgroup').write_text(cgroup)
    for name, text in files.items():
        path = root / 'sys/fs/cgroup' / name.replace('__', '/').replace('_dot_', '.')
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + '\n')
    return root


V1 = '4:cpu,cpuacct:/docker/ab\n3:memory:/docker/ab\n'


@pytest.mark.parametrize(
    ('cgroup', 'files', 'threads'),
    [
        ('0::/\n', {'cpu_dot_max': '200000 100000'}, 2),
        ('0::/\n', {'cpu_dot_max': 'max 100000'}, 0),
        ('0::/\n', {'cpu_dot_max': '50000 100000'}, 1),  # half of a processor
        ('0::/\n', {'cpu_dot_max': '390000 100000'}, 3),
        ('0::/\n', {'cpu_dot_max': '400000 100000'}, 0),  # all that there is
        ('0::/a/b\n', {'a__b__cpu_dot_max': 'max 100000', 'a__cpu_dot_max': '200000 100000'}, 2),
        (
            '0::/a/b\n',
            {'a__b__cpu_dot_max': '100000 100000', 'a__cpu_dot_max': '200000 100000'},
            1,
        ),
        ('0::/../host/path\n', {'cpu_dot_max': '200000 100000'}, 2),
        ('', {}, 0),
        ('0::/\n', {'cpu_dot_max': 'rubbish'}, 0),
        ('0::/\n', {'cpu_dot_max': '100000 0'}, 0),
        (V1, {'cpu__cpu.cfs_quota_us': '200000', 'cpu__cpu.cfs_period_us': '100000'}, 2),
        (V1, {'cpu__cpu.cfs_quota_us': '-1', 'cpu__cpu.cfs_period_us': '100000'}, 0),
        (
            V1,
            {
                'cpu,cpuacct__docker__ab__cpu.cfs_quota_us': '150000',
                'cpu,cpuacct__docker__ab__cpu.cfs_period_us': '50000',
            },
            3,
        ),
        ('9:name=systemd:/\n', {'cpu__cpu.cfs_quota_us': '200000'}, 0),
    ],
)
def test_the_smallest_quota_counts(tmp_path, cgroup, files, threads):
    assert cpu_quota(write(tmp_path, cgroup, **files)) == threads


def test_a_machine_without_control_groups_has_no_quota(tmp_path):
    assert cpu_quota(tmp_path) == 0


@pytest.mark.parametrize(('asked', 'given'), [(0, 3), (2, 2)])
def test_an_engine_that_may_choose_is_kept_within_the_quota(
    primary_model, monkeypatch, asked, given, caplog
):
    monkeypatch.setattr(backends, 'cpu_quota', lambda: 3)
    seen = []

    class Engine(backends._class_of('onnxruntime')):
        def __init__(self, card, *, num_threads, **settings):
            seen.append(num_threads)
            super().__init__(card, num_threads=num_threads, **settings)

    monkeypatch.setattr(backends, '_class_of', lambda _: Engine)
    caplog.set_level('INFO')
    seg_ros.load(primary_model, backend='onnxruntime', num_threads=asked)
    assert seen == [given]
    assert ('CPU quota' in caplog.text) == (asked == 0)
