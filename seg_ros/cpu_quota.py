"""The share of the processor that a container or service may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def cpu_quota(root: Path = Path('/')) -> int:
    """Threads that a quota of this process's control group allows to run at the same time.

    Engines count processors and do not see that ``docker run --cpus`` or ``CPUQuota=`` of systemd
    stops all threads once their time is used up; with more threads than that, each frame waits
    for the next period.

    Args:
        root: Where ``proc`` and ``sys`` lie.

    Returns:
        At least 1; 0 where no quota is below what the process may use anyway.
    """
    shares = list(_shares(root))
    if not shares:
        return 0
    # Part of a processor is no processor: rounded up, the last thread would be stopped each time.
    allowed = max(1, int(min(shares)))
    return allowed if allowed < len(os.sched_getaffinity(0)) else 0


def _shares(root: Path) -> Iterator[float]:
    """Processors that each group from this process's own up to the root allows."""
    try:
        lines = (root / 'proc/self/cgroup').read_text(encoding='utf-8').splitlines()
    except OSError:
        return
    groups = root / 'sys/fs/cgroup'
    for line in lines:
        _, controllers, path = line.split(':', 2)
        if not controllers:
            mounts = [groups, groups / 'unified']
        elif 'cpu' in controllers.split(','):
            mounts = [groups / controllers, groups / 'cpu']
        else:
            continue
        for mount in mounts:
            # In a container the path may be the host's; its own group is then the mount itself.
            inner = Path(path.lstrip('/'))
            for group in (inner, *inner.parents):
                yield from _share(mount / group)


def _share(group: Path) -> Iterator[float]:
    """Processors that one group allows, if it limits them: version 2 or version 1."""
    for names in (['cpu.max'], ['cpu.cfs_quota_us', 'cpu.cfs_period_us']):
        try:
            texts = [(group / name).read_text(encoding='utf-8') for name in names]
            quota, period = map(int, ' '.join(texts).split())
        except (OSError, ValueError):  # no such file, or 'max'
            continue
        if quota > 0 and period > 0:
            yield quota / period
