"""Processes under measurement: their start and end, memory and processor time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.record import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

_END_WITHIN_S = 20.0
_TICKS_PER_S = os.sysconf('SC_CLK_TCK')


@dataclass(frozen=True)
class Usage:
    """What a process has used up to now; the memory is that of this moment."""

    cpu_s: float
    rss_mb: float
    peak_rss_mb: float


class Process:
    """A Python module in a process of its own, ended by SIGINT when the context ends.

    Args:
        module: What ``python -m`` takes.
        arguments: Its arguments.
        piped: Whether ``ask`` is going to be used.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        piped: bool = False,
    ) -> None:
        self._pipe = subprocess.PIPE if piped else None
        self._popen = subprocess.Popen(
            [sys.executable, '-m', module, *arguments],
            cwd=ROOT,  # python -m looks there first: the checkout is measured, not an installation
            stdin=self._pipe,
            stdout=self._pipe,
            text=True,
        )
        self._name = f'{module} {" ".join(arguments)}'

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGINT)
        try:
            self._popen.communicate(timeout=_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.communicate()

    def usage(self) -> Usage:
        """Read what the process has used.

        Raises:
            RuntimeError: If it has ended.
        """
        if (code := self._popen.poll()) is not None:
            raise RuntimeError(f'{self._name} ended with status {code} during the measurement')
        return usage_of(self._popen.pid)

    def ask(self, command: str, **arguments: Any) -> Any:
        """Send a command to a process that runs ``answer_commands`` and wait for its answer.

        Raises:
            RuntimeError: If it ends, or answers with an error.
        """
        assert self._popen.stdin is not None, 'not piped'
        assert self._popen.stdout is not None, 'not piped'
        self._popen.stdin.write(json.dumps({'command': command, **arguments}) + '\n')
        self._popen.stdin.flush()
        line = self._popen.stdout.readline()
        if not line:
            raise RuntimeError(f'{self._name} ended with status {self._popen.wait()}')
        answer = json.loads(line)
        if 'error' in answer:
            raise RuntimeError(f'{self._name}: {answer["error"]}')
        return answer['result']


def end_children_on_signals() -> None:
    """Leave the contexts of processes on SIGTERM too, and on SIGINT when in the background."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.default_int_handler)


def answer(line: str, commands: Mapping[str, Callable[..., Any]]) -> None:
    """Carry out one line that ``Process.ask`` sent and print the answer."""
    request = json.loads(line)
    try:
        result = commands[request.pop('command')](**request)
    except (ValueError, TimeoutError) as error:
        print(json.dumps({'error': str(error)}), flush=True)
        return
    print(json.dumps({'result': result}), flush=True)


def usage_of(pid: int) -> Usage:
    """Read /proc of a process."""
    folder = Path('/proc') / str(pid)
    status = (folder / 'status').read_text(encoding='ascii').splitlines()
    kib = {
        key: int(value.split()[0])
        for key, _, value in (line.partition(':') for line in status)
        if value.endswith('kB')
    }
    # utime and stime are fields 14 and 15; the second, the name in parentheses, may hold blanks.
    fields = (folder / 'stat').read_text(encoding='ascii').rpartition(')')[2].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return Usage(cpu_s, kib['VmRSS'] / 1024, kib['VmHWM'] / 1024)
