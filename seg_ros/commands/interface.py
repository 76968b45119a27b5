"""Print the topics, services and parameters of a node in Markdown, as README and docs have them.

With --write the blocks between <!-- topics --> and <!-- /topics --> (services, parameters
likewise) of a file are replaced.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

NODES = ('segmentation', 'evaluation')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--node', choices=NODES, default=NODES[0], help='which node')
    parser.add_argument('--write', type=Path, metavar='FILE', help='bring its blocks up to date')
    parser.add_argument('--policy', action='store_true', help='print the SROS2 policy instead')


def run(args: argparse.Namespace) -> int:
    """Print the tables, or write them where they belong."""
    if args.policy:
        from seg_ros.node.security_policy import sros2_policy

        print(sros2_policy(), end='')
        return 0
    found = tables(args.node)
    if args.write is None:
        print('\n\n'.join(found.values()))
        return 0
    text = args.write.read_text(encoding='utf-8')
    args.write.write_text(with_tables(text, found), encoding='utf-8')
    return 0


def tables(node: str = NODES[0]) -> dict[str, str]:
    """Build the Markdown tables of one of ``NODES``: name of the block -> table."""
    if node == 'evaluation':
        return {'parameters': parameter_table(node)}
    from seg_ros.node.interface import SERVICES

    services = [(f'~/{entry.name}', entry.type, entry.meaning) for entry in SERVICES]
    return {
        'topics': _table(('topic', 'type', ''), _topic_rows()),
        'services': _table(('service', 'type', ''), services),
        'parameters': parameter_table(node),
    }


def with_tables(text: str, found: dict[str, str]) -> str:
    """Replace the blocks of a document.

    Raises:
        ValueError: If it lacks one.
    """
    for name, table in found.items():
        begin, end = f'<!-- {name} -->', f'<!-- /{name} -->'
        before, has_begin, rest = text.partition(begin)
        _, has_end, after = rest.partition(end)
        if not has_begin or not has_end:
            raise ValueError(f'no block between {begin} and {end}')
        text = f'{before}{begin}\n{table}\n{end}{after}'
    return text


def parameter_table(node: str = NODES[0]) -> str:
    """Build the table of parameters from the declaration of one of ``NODES``."""
    from seg_ros.node.config import NodeConfig
    from seg_ros.node.evaluation_config import EvaluationConfig
    from seg_ros.schema import settings_of, type_name

    config = {'segmentation': NodeConfig, 'evaluation': EvaluationConfig}[node]
    rows = []
    for setting in settings_of(config):
        default = list(setting.default) if isinstance(setting.default, tuple) else setting.default
        shown = f'`{default}`' if default != '' else ''
        allowed = ''
        if setting.choices:
            allowed = f' ({", ".join(str(choice) for choice in setting.choices if choice)})'
        elif setting.bounds:
            allowed = f' ({setting.bounds[0]} to {setting.bounds[1]})'
        live = 'yes' if setting.live else ''
        meaning = f'{setting.doc}{allowed}'
        rows.append((setting.name, type_name(setting.type), shown, live, meaning))
    return _table(('parameter', 'type', 'default', 'live', 'meaning'), rows)


def _topic_rows() -> list[tuple[str, str, str]]:
    from seg_ros.node.interface import (
        CAMERA_TOPICS,
        CLASS_TOPICS,
        DIAGNOSTICS,
        GEOMETRY_TOPICS,
        MASK_TOPIC,
    )

    first, *others = CAMERA_TOPICS
    rows = [
        (f'~/{topic.name}', topic.type, topic.meaning) for topic in (first, MASK_TOPIC, *others)
    ]
    rows += [
        (f'~/{topic.name}', topic.type, f'with `geometry: [{shape}]`: {topic.meaning}')
        for shape, topic in GEOMETRY_TOPICS.items()
    ]
    rows += [(f'~/{topic.name}', topic.type, topic.meaning) for topic in CLASS_TOPICS]
    return [*rows, (DIAGNOSTICS.name, DIAGNOSTICS.type, DIAGNOSTICS.meaning)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose first column is code."""
    lines = [f'| {" | ".join(head)} |', '|' + '---|' * len(head)]
    lines += [f'| `{name}` | {" | ".join(cells)} |' for name, *cells in rows]
    return '\n'.join(lines)
