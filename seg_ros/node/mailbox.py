"""One slot per camera between the executor and the worker: the newest frame wins."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Counters:
    """What became of the frames; ``received == published + dropped + rejected + waiting``."""

    received: int = 0
    published: int = 0
    dropped: int = 0
    rejected: int = 0


class Mailbox:
    """Hands frames from the executor's thread to one worker.

    A new frame replaces the one of the same camera that still waits. Cameras are served in turn,
    so that a fast one cannot starve the others.
    """

    def __init__(self) -> None:
        self._slots: dict[str, Any] = {}  # insertion order is the order of service
        self._counters = Counters()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, camera: str, frame: Any) -> None:
        """Leave the newest frame of a camera; what waited in its slot is dropped."""
        with self._changed:
            self._count(received=1, dropped=int(camera in self._slots))
            self._slots[camera] = frame  # a replaced frame keeps its camera's place in the line
            self._changed.notify()

    def take(self) -> tuple[str, Any] | None:
        """Wait for a frame: (camera, frame), or None once the mailbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._slots or self._closed)
            if self._closed:
                return None
            camera = next(iter(self._slots))
            return camera, self._slots.pop(camera)

    def published(self) -> None:
        """Count a frame whose labels went out."""
        with self._changed:
            self._count(published=1)

    def rejected(self) -> None:
        """Count a frame that could not be used."""
        with self._changed:
            self._count(rejected=1)

    def dropped(self) -> None:
        """Count a frame that was taken and not worked on."""
        with self._changed:
            self._count(dropped=1)

    def close(self) -> None:
        """Let the worker go; frames that still wait count as dropped."""
        with self._changed:
            self._count(dropped=len(self._slots))
            self._slots.clear()
            self._closed = True
            self._changed.notify_all()

    def open(self) -> None:
        """Take frames again after ``close``; the counters go on."""
        with self._changed:
            self._closed = False

    @property
    def counters(self) -> Counters:
        """The counters at this moment."""
        with self._changed:
            return self._counters

    def _count(self, **increments: int) -> None:
        now = self._counters
        self._counters = replace(
            now, **{name: getattr(now, name) + step for name, step in increments.items()}
        )
