"""Several data sets of the same classes as one, such as rendered scenes and photographs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import accumulate

from seg_ros.datasets.sample import Dataset, Sample
from seg_ros.model_card import ClassInfo


class Mixture:
    """The samples of several data sets, one set after the other.

    Args:
        parts: Prefix of the samples' names -> data set; '' for none.
        repeats: How often in an epoch the samples of each part are drawn.

    Attributes:
        repeats: The same for every sample.

    Raises:
        ValueError: If the classes of a part differ from those of the first in id, name or order.
    """

    classes: tuple[ClassInfo, ...]
    names: tuple[str, ...]

    def __init__(self, parts: Mapping[str, Dataset], repeats: tuple[int, ...]) -> None:
        first, *others = parts
        self.classes = parts[first].classes
        for prefix in others:
            require_same_classes(self.classes, parts[prefix].classes, prefix)
        self._parts = dict(parts)
        self._ends = list(accumulate(len(part) for part in parts.values()))
        self.names = tuple(
            f'{prefix}/{name}' if prefix else name
            for prefix, part in parts.items()
            for name in part.names
        )
        self.repeats = tuple(
            repeat
            for part, repeat in zip(parts.values(), repeats, strict=True)
            for _ in range(len(part))
        )
        self.remarks = tuple(
            f'{prefix}: {remark}' if prefix else remark
            for prefix, part in parts.items()
            for remark in getattr(part, 'remarks', ())
        )
        self.single_threaded = any(
            getattr(part, 'single_threaded', False) for part in parts.values()
        )

    def __len__(self) -> int:
        """Number of samples, each counted once."""
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        """Read sample ``index``; errors are those of its data set."""
        number = bisect_right(self._ends, index)
        part = list(self._parts.values())[number]
        sample = part[index - self._ends[number] + len(part)]
        return replace(sample, name=self.names[index])


def require_same_classes(
    wanted: Iterable[ClassInfo], classes: Iterable[ClassInfo], what: str
) -> None:
    """Refuse data whose labels mean something else.

    Args:
        wanted: The classes that decide.
        classes: Those that must agree.
        what: Whose the latter are, for the message.

    Raises:
        ValueError: If ids, names or order differ; colours may.
    """
    expected, got = ([(each.id, each.name) for each in side] for side in (wanted, classes))
    if expected != got:
        raise ValueError(
            f'classes of {what} differ in id, name or order: expected {expected}, got {got}'
        )
