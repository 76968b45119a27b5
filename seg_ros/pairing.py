"""Which label belongs to which image: by header stamp."""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_NEIGHBOURS = 2  # candidates on either side of an image


@dataclass(frozen=True)
class Pairing:
    """Positions refer to the sequences that were paired.

    Attributes:
        label_of_image: Position of an image -> position of its label; one to one.
        lone_images: Images without a label, in order.
        lone_labels: Labels without an image, in order.
        repeated_images: Images that share their stamp with another one; never paired.
        repeated_labels: Labels alike.
    """

    label_of_image: dict[int, int]
    lone_images: tuple[int, ...]
    lone_labels: tuple[int, ...]
    repeated_images: tuple[int, ...]
    repeated_labels: tuple[int, ...]


def pair_stamps(
    images_ns: Sequence[int | None], labels_ns: Sequence[int | None], slop_ns: int = 0
) -> Pairing:
    """Pair images and labels, the closest stamps first.

    A stamp that occurs more than once in a topic says nothing about what belongs together; such
    messages stay unpaired.

    Args:
        images_ns: Header stamps of the images, in any order; None for one that has no stamp, which
            is neither paired nor listed.
        labels_ns: Header stamps of the labels, alike.
        slop_ns: Largest difference; 0 for equal stamps only.

    Raises:
        ValueError: If ``slop_ns`` is negative.
    """
    if slop_ns < 0:
        raise ValueError(f'slop is {slop_ns} ns; give 0 or more')
    images, repeated_images = _unique(images_ns)
    labels, repeated_labels = _unique(labels_ns)
    label_stamps = [stamp for stamp, _ in labels]
    candidates = []
    for stamp, image in images:
        middle = bisect.bisect_left(label_stamps, stamp)
        for near in range(max(0, middle - _NEIGHBOURS), min(len(labels), middle + _NEIGHBOURS)):
            difference = abs(label_stamps[near] - stamp)
            if difference <= slop_ns:
                candidates.append((difference, image, labels[near][1]))
    label_of_image: dict[int, int] = {}
    taken: set[int] = set()
    for _, image, label in sorted(candidates):
        if image not in label_of_image and label not in taken:
            label_of_image[image] = label
            taken.add(label)
    return Pairing(
        label_of_image=dict(sorted(label_of_image.items())),
        lone_images=tuple(sorted(i for _, i in images if i not in label_of_image)),
        lone_labels=tuple(sorted(i for _, i in labels if i not in taken)),
        repeated_images=repeated_images,
        repeated_labels=repeated_labels,
    )


def _unique(stamps_ns: Sequence[int | None]) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
    """Sorted (stamp, position) of the stamps that occur once, and positions of the others."""
    stamped = [(stamp, i) for i, stamp in enumerate(stamps_ns) if stamp is not None]
    counts = Counter(stamp for stamp, _ in stamped)
    once = sorted(entry for entry in stamped if counts[entry[0]] == 1)
    return once, tuple(i for stamp, i in stamped if counts[stamp] > 1)
