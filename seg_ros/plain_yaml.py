"""YAML of strangers: plain values only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader without aliases: nobody needs them, and nested ones grow without bound."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError('anchors and aliases are not allowed')
        return super().compose_node(parent, index)


def load_plain_yaml(path: Path, max_bytes: int) -> Any:
    """Read a file of mappings, lists, texts and numbers.

    Args:
        path: The file.
        max_bytes: Largest size that is read.

    Raises:
        ValueError: If it is larger, no YAML, or holds tags, aliases or very deep nesting.
    """
    if (size := path.stat().st_size) > max_bytes:
        raise ValueError(f'{path} has {size} bytes; allowed are {max_bytes}')
    try:
        return yaml.load(path.read_text(encoding='utf-8'), Loader=_PlainLoader)  # noqa: S506
    except RecursionError as error:
        raise ValueError(f'{path} is no YAML: it is nested too deep') from error
    # Numbers and times that YAML knows and Python does not end in a ValueError, or others.
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f'{path} is no YAML: {error}') from error
