"""Live evaluation without ROS: messages come in as bytes, in any order, and leave as scores."""

from __future__ import annotations

import math
import queue
import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from seg_ros.bags import decode_image_data, decode_label_data, header_stamp_ns
from seg_ros.evaluation.examples import Examples, example
from seg_ros.evaluation.offline import to_rgb
from seg_ros.evaluation.scoring import Scoring, percentiles

Part = Literal['image', 'truth', 'label_mask', 'confidence']
LatencyFrom = Literal['auto', 'stamp', 'arrival']

PARTS: tuple[Part, ...] = ('image', 'truth', 'label_mask', 'confidence')
_MAX_QUEUED = 64  # complete frames that wait to be scored
_MAX_PLAUSIBLE_AGE_MS = 60_000.0  # older stamps are those of a recording
_LATENCY_IS = {
    'stamp': "From the header's stamp to the arrival of the label mask, by the clock of ROS.",
    'arrival': 'From the arrival of the image to the arrival of the label mask, here.',
}


@dataclass
class _Pending:
    """What has come of one frame."""

    first_s: float
    parts: dict[Part, tuple[bytes, str]] = field(default_factory=dict)
    arrived_s: dict[Part, float] = field(default_factory=dict)
    age_ms: float = math.nan


class LiveEvaluation:
    """Puts the messages of a frame together by their stamps and scores it in a thread of its own.

    A frame is complete when every expected part has come. Whatever is missing ``drop_after_s``
    later has not come back: a frame without a label mask is counted as dropped.

    Args:
        scoring: Where frames are added up.
        expected: The parts a complete frame has; may change while it runs.
        drop_after_s: How long a frame is waited for.
        latency_from: What latency means: ``stamp`` (clock minus stamp), ``arrival`` (from image to
            label mask, both as they arrived) or ``auto``: ``stamp`` unless the stamps are those of
            a recording.
        max_pending: Frames that are waited for at the same time; more drop the oldest early.
    """

    def __init__(
        self,
        scoring: Scoring,
        expected: Sequence[Part],
        *,
        drop_after_s: float = 5.0,
        latency_from: LatencyFrom = 'auto',
        max_pending: int = 200,
    ) -> None:
        self.scoring = scoring
        self.examples = Examples()
        self.expected = frozenset(expected)
        self.truths = 0  # that came; those of a looped bag count each time
        self._drop_after_s = drop_after_s
        self._latency_from = latency_from
        self._max_pending = max_pending
        self._pending: OrderedDict[int, _Pending] = OrderedDict()
        self._given_up: OrderedDict[int, None] = OrderedDict()
        self._ages_ms, self._arrivals_ms = array('d'), array('d')
        self._first_stamp_ns: int | None = None
        self._queue: queue.Queue[tuple[int, _Pending] | None] = queue.Queue(_MAX_QUEUED)
        self.lock = threading.Lock()  # of scoring and examples, which the thread writes
        self._thread = threading.Thread(target=self._work, name='scoring', daemon=True)
        self._thread.start()

    def receive(
        self, part: Part, kind: str, data: bytes, now_s: float, age_ms: float = math.nan
    ) -> None:
        """Take a message.

        Args:
            part: What it is of its frame.
            kind: Its type as ``package/msg/Name``.
            data: Serialised.
            now_s: When it arrived, by a monotonic clock.
            age_ms: Clock minus stamp; NaN where that makes no sense.
        """
        try:
            stamp_ns = header_stamp_ns(data)
        except ValueError:
            with self.lock:
                self.scoring.skips.add('message without a readable header', part)
            return
        if self._first_stamp_ns is None:
            self._first_stamp_ns = stamp_ns
        self.truths += part == 'truth'
        if stamp_ns in self._given_up and part in ('label_mask', 'confidence'):
            if part == 'label_mask':
                with self.lock:
                    self.scoring.skips.add(
                        'label mask of a frame counted as dropped', str(stamp_ns)
                    )
            return
        self._given_up.pop(stamp_ns, None)  # a looped bag sends the frame again
        entry = self._pending.setdefault(stamp_ns, _Pending(now_s))
        entry.parts[part] = (data, kind)
        entry.arrived_s[part] = now_s
        if part == 'label_mask':
            entry.age_ms = age_ms
        if self.expected <= entry.parts.keys():
            del self._pending[stamp_ns]
            self._enqueue(stamp_ns, entry)
        elif len(self._pending) > self._max_pending:
            self._give_up(*self._pending.popitem(last=False))

    def settle(self, now_s: float) -> None:
        """Give up on frames that were waited for long enough; ``math.inf`` for all of them."""
        late = [s for s, e in self._pending.items() if now_s - e.first_s > self._drop_after_s]
        for stamp_ns in late:
            self._give_up(stamp_ns, self._pending.pop(stamp_ns))

    def finish(self) -> None:
        """Settle what is pending and wait until everything is scored."""
        self.settle(math.inf)
        self._queue.put(None)
        self._thread.join()

    @property
    def pending(self) -> int:
        """Frames that are waited for."""
        return len(self._pending)

    def measure(self) -> dict[str, Any]:
        """Put the chosen latency into the scoring and say what it is; call it under the lock."""
        source = self._source()
        chosen = self._ages_ms if source == 'stamp' else self._arrivals_ms
        self.scoring.latencies_ms = chosen[:]
        return {
            'latency_is': _LATENCY_IS[source],
            'stamp_age_ms': percentiles(self._ages_ms),
            'image_to_mask_ms': percentiles(self._arrivals_ms),
        }

    def _source(self) -> Literal['stamp', 'arrival']:
        if self._latency_from != 'auto':
            return self._latency_from
        ages = np.asarray(self._ages_ms)
        known = ages[np.isfinite(ages)]
        plausible = known.size and 0 <= float(np.median(known)) < _MAX_PLAUSIBLE_AGE_MS
        return 'stamp' if plausible else 'arrival'

    def _give_up(self, stamp_ns: int, entry: _Pending) -> None:
        """The frame is as complete as it gets."""
        if 'label_mask' in entry.parts:
            self._enqueue(stamp_ns, entry)
            return
        self._given_up[stamp_ns] = None
        if len(self._given_up) > self._max_pending:
            self._given_up.popitem(last=False)
        with self.lock:
            if 'image' in entry.parts or ('image' not in self.expected and 'truth' in entry.parts):
                self.scoring.dropped_s.append(self._time_s(stamp_ns))
            else:
                parts = ' and '.join(sorted(entry.parts))
                self.scoring.skips.add(f'{parts} without an image', str(stamp_ns))

    def _enqueue(self, stamp_ns: int, entry: _Pending) -> None:
        try:
            self._queue.put_nowait((stamp_ns, entry))
        except queue.Full:
            with self.lock:
                self.scoring.skips.add(
                    'frame that came back and that there was no time to score', str(stamp_ns)
                )

    def _time_s(self, stamp_ns: int) -> float:
        return (stamp_ns - (self._first_stamp_ns or 0)) / 1e9

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            stamp_ns, entry = work
            with self.lock:
                try:
                    self._score(stamp_ns, entry)
                except ValueError as error:
                    self.scoring.skips.add('message that cannot be read', f'{stamp_ns}: {error}')

    def _score(self, stamp_ns: int, entry: _Pending) -> None:
        labels = decode_label_data(*entry.parts['label_mask'])
        truth = confidence = None
        if 'truth' in entry.parts:
            truth = decode_label_data(*entry.parts['truth'])
        elif 'truth' in self.expected:
            self.scoring.skips.add('label mask without a truth', str(stamp_ns))
        if 'confidence' in entry.parts:
            confidence = decode_label_data(*entry.parts['confidence'])
        arrival_ms = math.nan
        if 'image' in entry.arrived_s:
            seconds = entry.arrived_s['label_mask'] - entry.arrived_s['image']
            arrival_ms = max(0.0, seconds * 1e3)
        before = self.scoring.frames
        miou = self.scoring.add(
            str(stamp_ns),
            labels,
            truth_hw=truth,
            confidence_hw=confidence,
            time_s=self._time_s(stamp_ns),
        )
        if self.scoring.frames == before:
            return
        self._ages_ms.append(entry.age_ms)
        self._arrivals_ms.append(arrival_ms)
        picture = None
        if self.examples.wants(miou):
            image = entry.parts.get('image')
            image_rgb = to_rgb(decode_image_data(*image)) if image else None
            name = str(stamp_ns)
            shown = [('prediction', labels)]
            picture = example(name, miou, image_rgb, truth, shown, self.scoring.classes)
        self.examples.add(miou, picture)
