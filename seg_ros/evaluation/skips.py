"""What could not be used, counted by reason and listed."""

from __future__ import annotations

from typing import Any

MAX_LISTED = 50


class Skips:
    """Frames and labels that were left out; nothing is ever left out without an entry here."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, list[str]]] = {}

    def add(self, reason: str, item: str, times: int = 1) -> None:
        """Count an item.

        Args:
            reason: What is wrong, the same words for all items with this trouble.
            item: Which frame or message, and details.
            times: How many it stands for.
        """
        count, items = self._entries.get(reason, (0, []))
        if len(items) < MAX_LISTED:
            items.append(item)
        self._entries[reason] = (count + times, items)

    @property
    def count(self) -> int:
        """Number of items."""
        return sum(count for count, _ in self._entries.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values for the report; at most ``MAX_LISTED`` items are listed per reason."""
        return {
            'count': self.count,
            'reasons': [
                {'reason': reason, 'count': count, 'items': list(items)}
                for reason, (count, items) in self._entries.items()
            ],
        }

    def lines(self) -> list[str]:
        """One line of text per reason."""
        return [
            f'{count} x {reason}: {", ".join(items[:3])}{", ..." if count > 3 else ""}'
            for reason, (count, items) in self._entries.items()
        ]
