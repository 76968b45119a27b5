"""Print the table of a node's parameters in Markdown, as README and docs have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

NODES = ('segmentation', 'evaluation')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--node', choices=NODES, default=NODES[0], help='which node')


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    print(parameter_table(args.node))
    return 0


def parameter_table(node: str = NODES[0]) -> str:
    """Build the Markdown table from the declaration of one of ``NODES``."""
    from seg_ros.node.config import NodeConfig
    from seg_ros.node.evaluation_config import EvaluationConfig
    from seg_ros.schema import settings_of, type_name

    config = {'segmentation': NodeConfig, 'evaluation': EvaluationConfig}[node]
    lines = ['| parameter | type | default | live | meaning |', '|---|---|---|---|---|']
    for setting in settings_of(config):
        default = list(setting.default) if isinstance(setting.default, tuple) else setting.default
        shown = f'`{default}`' if default != '' else ''
        allowed = ''
        if setting.choices:
            allowed = f' ({", ".join(map(str, setting.choices))})'
        elif setting.bounds:
            allowed = f' ({setting.bounds[0]} to {setting.bounds[1]})'
        lines.append(
            f'| `{setting.name}` | {type_name(setting.type)} | {shown} | '
            f'{"yes" if setting.live else ""} | {setting.doc}{allowed} |'
        )
    return '\n'.join(lines)
