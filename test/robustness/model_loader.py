"""Loads model folders in a process of its own: a graph that kills its engine kills only this.

    python -m test.robustness.model_loader BACKEND

Reads a folder per line and answers with a line of JSON: what came of loading it.
"""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
import time
from pathlib import Path

HANG_S = 60.0


def main(backend: str) -> None:
    import resource

    from seg_ros.segmenter import load

    # A damaged length must not take the machine's memory; engines alone need less than 2 GiB.
    resource.setrlimit(resource.RLIMIT_DATA, (6 << 30, 6 << 30))
    answers, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps({'outcome': 'ready'}), file=answers, flush=True)
    for line in sys.stdin:
        try:
            load(line.strip(), backend=backend)
            answer = {'outcome': 'loaded'}
        except (ValueError, FileNotFoundError) as error:
            answer = {'outcome': 'refused', 'reason': str(error)}
        except BaseException as error:
            answer = {'outcome': 'crash', 'reason': f'{type(error).__name__}: {error}'}
        print(json.dumps(answer), file=answers, flush=True)


class ModelLoader:
    """Keeps a loading process at work and begins a new one when it died."""

    def __init__(self, backend: str) -> None:
        self._command = [sys.executable, '-m', 'test.robustness.model_loader', backend]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> ModelLoader:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def load(self, folder: Path) -> None:
        """Load a folder.

        Raises:
            ValueError: The reason why it was refused.
            RuntimeError: If something else happened: another exception, a dead or a hung process.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self._answer()
        assert self._process.stdin is not None
        self._process.stdin.write(f'{folder}\n')
        self._process.stdin.flush()
        answer = self._answer()
        if answer['outcome'] == 'refused':
            raise ValueError(answer['reason'])
        if answer['outcome'] == 'crash':
            raise RuntimeError(answer['reason'])

    def _answer(self) -> dict[str, str]:
        assert self._process is not None
        assert self._process.stdout is not None
        began = time.monotonic()
        ready, _, _ = select.select([self._process.stdout], [], [], HANG_S)
        line = self._process.stdout.readline() if ready else ''
        if line:
            answer: dict[str, str] = json.loads(line)
            return answer
        self._end()
        raise RuntimeError(
            f'the process hung for {time.monotonic() - began:.0f} s' if not ready else 'it died'
        )

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(BrokenPipeError):
                self._process.communicate()
            self._process = None


if __name__ == '__main__':
    main(*sys.argv[1:])
