"""A line of the log that others can set off as often as they like."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PERIOD_S = 30.0


class SeldomLog:
    """Writes the first line at once, and then one in a while at most; the others are left out.

    rclpy's own throttle goes by the place in the code: one topic would silence the others.

    Args:
        write: Writes a line to the log.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._next_s = 0.0

    def __call__(self, text: str) -> None:
        """Write a line, if it is time."""
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _PERIOD_S
            self._write(text)
