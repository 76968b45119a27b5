"""A log that nobody reads must not stop the robot."""

from __future__ import annotations

import contextlib
import os
import stat


def keep_log_from_blocking() -> None:
    """Let lines be lost, and not the node wait, while the pipe behind stdout or stderr is full.

    A pipe holds 64 KiB; when its reader stops reading (a hung launch, a paused pager), the next
    line would block the thread that writes it, and with it the node. Each pipe is opened anew for
    this process: to change it in place would change it for whoever else writes into it.
    """
    for number in (1, 2):
        # Where there is no /proc, or nobody reads any more, it stays as it is.
        with contextlib.suppress(OSError):
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                own = os.open(f'/proc/self/fd/{number}', os.O_WRONLY | os.O_NONBLOCK)
                os.dup2(own, number)
                os.close(own)
