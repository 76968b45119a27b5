"""Which frames are worth the engine's time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time as Stamp
    from rclpy.clock import Clock


class RateLimit:
    """Lets frames of one camera through at a mean rate.

    It goes by the computer's steady clock: it spares the computer, and stamps may jump back.
    """

    def __init__(self) -> None:
        self._due_s = 0.0

    def admits(self, max_rate_hz: float, now_s: float) -> bool:
        """Tell whether a frame that comes now may pass; 0 Hz lets every frame through."""
        if not max_rate_hz:
            return True
        if now_s < self._due_s:
            return False
        # Counted from when it was due, so that 30 Hz thin out to 20 and not to 15.
        period_s = 1 / max_rate_hz
        is_late = now_s - self._due_s >= period_s
        self._due_s = (now_s if is_late else self._due_s) + period_s
        return True


def stamp_age_s(clock: Clock, stamp: Stamp) -> float | None:
    """Age of a stamp by the node's clock.

    In plain numbers: rclpy's Time refuses stamps before 1970, which a camera may well send.

    Returns:
        Seconds; None for stamp 0 and for one in the future, as of a bag that looped.
    """
    if not stamp.sec and not stamp.nanosec:
        return None
    age_ns = clock.now().nanoseconds - stamp.sec * 10**9 - stamp.nanosec
    return age_ns / 1e9 if age_ns >= 0 else None
