"""One slot per camera between the executor and the worker: the newest frame wins."""

from __future__ import annotations

import itertools
import threading
import time
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
    so that a fast one cannot starve the others. Those that want several frames at once wait for a
    camera only while it sends: one that let them wait in vain is awaited again after its next
    frame.
    """

    def __init__(self) -> None:
        self._slots: dict[str, Any] = {}  # insertion order is the order of service
        self._filled_s = 0.0  # when the slots were empty last
        self._awaited: set[str] = set()  # cameras that send
        self._counters = Counters()
        self._closed = False
        self._woken = False
        self._changed = threading.Condition()

    def put(self, camera: str, frame: Any) -> None:
        """Leave the newest frame of a camera; what waited in its slot is dropped."""
        with self._changed:
            self._count(received=1, dropped=int(camera in self._slots))
            if not self._slots:
                self._filled_s = time.monotonic()
            self._slots[camera] = frame  # a replaced frame keeps its camera's place in the line
            self._awaited.add(camera)
            self._changed.notify()

    def refuse(self) -> None:
        """Count a frame that came and is not wanted."""
        with self._changed:
            self._count(received=1, dropped=1)

    def take(self, limit: int = 1, patience_s: float = 0.0) -> dict[str, Any] | None:
        """Wait for frames.

        Args:
            limit: Cameras of which a frame is taken at most.
            patience_s: How long the first frame waits for those of further cameras, counted from
                its coming.

        Returns:
            Frame by camera, in the order of service; empty after ``wake``, None once the mailbox
            is closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._slots or self._closed or self._woken)
            if limit > 1 and patience_s and self._slots:
                self._gather(limit, self._filled_s + patience_s - time.monotonic())
            if self._closed:
                return None
            if self._woken:
                self._woken = False
                return {}
            cameras = list(itertools.islice(self._slots, limit))
            return {camera: self._slots.pop(camera) for camera in cameras}

    def wake(self) -> None:
        """Let the worker look around although no frame came."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def published(self) -> None:
        """Count a frame whose labels went out."""
        with self._changed:
            self._count(published=1)

    def rejected(self) -> None:
        """Count a frame that could not be used."""
        with self._changed:
            self._count(rejected=1)

    def dropped(self) -> None:
        """Count a frame that was taken and not published."""
        with self._changed:
            self._count(dropped=1)

    def clear(self) -> None:
        """Drop the frames that wait."""
        with self._changed:
            self._count(dropped=len(self._slots))
            self._slots.clear()

    def close(self) -> None:
        """Let the worker go; frames that still wait count as dropped."""
        with self._changed:
            self._count(dropped=len(self._slots))
            self._slots.clear()
            self._awaited.clear()
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

    def _gather(self, limit: int, patience_s: float) -> None:
        """Wait for the frames of further cameras; give up those that do not send."""
        self._changed.wait_for(
            lambda: (
                len(self._slots) >= limit
                or self._slots.keys() >= self._awaited
                or self._closed
                or self._woken
            ),
            patience_s,
        )
        if not self._woken:
            self._awaited.intersection_update(self._slots)

    def _count(self, **increments: int) -> None:
        now = self._counters
        self._counters = replace(
            now, **{name: getattr(now, name) + step for name, step in increments.items()}
        )
