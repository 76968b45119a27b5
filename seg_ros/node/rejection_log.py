"""Every rejection reaches the log with its reason, and a flood of them does not flood the log."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PERIOD_S = 2.0
_MAX_REASONS = 5  # per message


class RejectionLog:
    """Gathers rejections and tells them together, the first at once.

    Args:
        warn: Writes a line to the log.
    """

    def __init__(self, warn: Callable[[str], object]) -> None:
        self._warn = warn
        self._waiting: Counter[str] = Counter()
        self._next_s = 0.0
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        """Tell of a rejection, now or with those that come soon."""
        with self._lock:
            self._waiting[text] += 1
        self.flush()

    def flush(self) -> None:
        """Write what waits, if it is time; a timer calls it, so that nothing stays behind."""
        with self._lock:
            if not self._waiting or time.monotonic() < self._next_s:
                return
            waiting, self._waiting = self._waiting, Counter()
            self._next_s = time.monotonic() + _PERIOD_S
        told = waiting.most_common(_MAX_REASONS)
        for text, count in told:
            self._warn(text if count == 1 else f'{text} ({count} times)')
        if left := waiting.total() - sum(count for _, count in told):
            self._warn(f'{left} more frames rejected for {len(waiting) - len(told)} other reasons')
