"""What a process holds: memory, file handles, threads; read from /proc."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from test.robustness.tally import resident_mb

MIN_SLOPE_S = 600  # memory that is watched for less says nothing of a slope


@dataclass(frozen=True)
class Vitals:
    """One look at a process."""

    at_s: float
    rss_mb: float
    file_handles: int
    threads: int


def look_at(process: int) -> Vitals:
    """Read the vitals of a process by its id."""
    folder = Path(f'/proc/{process}')
    return Vitals(
        at_s=time.monotonic(),
        rss_mb=resident_mb(process),
        file_handles=len(list((folder / 'fd').iterdir())),
        threads=len(list((folder / 'task').iterdir())),
    )


class Watch:
    """Looks at a process once a second until it is closed; use it in a ``with``."""

    def __init__(self, process: int, period_s: float = 1.0) -> None:
        self.looks: list[Vitals] = []
        self._process = process
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.is_set():
            try:
                self.looks.append(look_at(self._process))
            except FileNotFoundError:
                return  # it ended; whoever waits for it notices
            self._stop.wait(self._period_s)

    def summary(self) -> dict[str, float]:
        """Figures of the second half of the time: buffers and caches have filled by then."""
        late = self.looks[len(self.looks) // 2 :]
        hours = np.array([look.at_s for look in late]) / 3600
        memory = np.array([look.rss_mb for look in late])
        slope = np.polyfit(hours - hours[0], memory, 1)[0] if len(late) > 2 else 0.0
        return {
            'rss_first_mb': round(self.looks[0].rss_mb, 1),
            'rss_last_mb': round(float(memory[-1]), 1),
            'rss_most_mb': round(max(look.rss_mb for look in self.looks), 1),
            'rss_slope_mb_per_h': round(float(slope), 2),
            'file_handles_first': late[0].file_handles,
            'file_handles_last': late[-1].file_handles,
            'threads_first': late[0].threads,
            'threads_last': late[-1].threads,
        }
