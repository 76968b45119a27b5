"""Print the table of the node's parameters in Markdown, as the README has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no arguments."""
    del parser


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    del args
    print(parameter_table())
    return 0


def parameter_table() -> str:
    """Build the Markdown table from the declaration."""
    from seg_ros.node.config import NodeConfig
    from seg_ros.schema import settings_of, type_name

    lines = ['| parameter | type | default | live | meaning |', '|---|---|---|---|---|']
    for setting in settings_of(NodeConfig):
        default = list(setting.default) if isinstance(setting.default, tuple) else setting.default
        allowed = ''
        if setting.choices:
            allowed = f' ({", ".join(map(str, setting.choices))})'
        elif setting.bounds:
            allowed = f' ({setting.bounds[0]} to {setting.bounds[1]})'
        lines.append(
            f'| `{setting.name}` | {type_name(setting.type)} | `{default}` | '
            f'{"yes" if setting.live else ""} | {setting.doc}{allowed} |'
        )
    return '\n'.join(lines)
