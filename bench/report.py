"""Make one page of the results: the goals beside what was measured, then the tables."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bench.goals import Results, judge, times_faster
from bench.record import RESULTS

NAMES = ('net_only', 'end_to_end', 'scaling', 'startup', 'training_loop')
_VERDICT = {True: 'yes', False: '**no**', None: '-'}
_PAGE = """# Benchmarks

Written by `python -m bench.report --write docs/benchmarks.md` from `bench/results/*.json`;
`make bench` measures anew. Times belong to the machine named above each table; ratios are taken
within one run, between what was measured in turns, and are what carries over.

Frames are rendered scenes of the bag in `demo/`. *Stamp to callback*: a camera process stamps and
publishes a frame, the node's process answers, the callback of a third process begins; all over
Fast DDS. A node is *idle* when at most half of its time is taken. Its *peak* is the highest rate
at which every frame is answered and none waits longer and longer. *Overload* is twice its peak.
The *floor* of a net is its multiplications and additions at the peak rate that wide convolutions
reach in OpenVINO in the same precision and run.

The *naive node* is what a user writes after a PyTorch tutorial (`bench/naive_node.py`), the
*tutorial node* what navigation tutorials start with ONNX Runtime (`bench/tutorial_node.py`).
"""


def load_results(folder: Path) -> Results:
    """Read the result files that are there."""
    paths = {name: folder / f'{name}.json' for name in NAMES}
    return {
        name: json.loads(path.read_text(encoding='utf-8'))
        for name, path in paths.items()
        if path.is_file()
    }


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Lay out a Markdown table; all columns but the first are figures."""
    lines = [f'| {" | ".join(heads)} |', '|---|' + '---:|' * (len(heads) - 1)]
    return '\n'.join([*lines, *(f'| {" | ".join(row)} |' for row in rows)])


def conditions(result: dict[str, Any]) -> str:
    """One paragraph on what a result was measured with."""
    facts = result.get('conditions')
    if facts is None:
        return 'Machine not recorded.'
    machine = facts['machine']
    versions = ', '.join(f'{name} {version}' for name, version in machine['packages'].items())
    quick = ' Short version: a look, no result.' if facts['quick'] else ''
    return (
        f'{machine["processor"]}, {machine["cores"]} cores '
        f'({", ".join(facts["instructions"]) or "no vector instructions known"}), '
        f'{machine["system"]}; load average {facts["load_average_before"]} before the start; '
        f'commit {facts["commit"]}, {facts["date"]}; took {result["took_s"]:.0f} s; '
        f'Python {machine["python"]}, {versions}.{quick}'
    )


def goals_section(results: Results) -> str:
    """The goals, and a line on each that is missed."""
    findings = judge(results)
    rows = [[each.goal, each.measured, _VERDICT[each.is_met]] for each in findings]
    text = '## Goals\n\n' + table(['goal', 'measured', 'met?'], rows)
    missed = [each for each in findings if each.is_met is False]
    if missed:
        text += '\n\nWhat is missed, by how much, and what the figures show:\n\n'
        text += '\n'.join(f'- {each.goal}: by {each.missed_by}. {each.cause}' for each in missed)
    return text


def end_to_end_section(result: dict[str, Any]) -> str:
    """Latency, rate and cost of every node, one table per scene."""
    parts = ['## End to end', conditions(result)]
    heads = ['node', 'p50 ms', 'p95 ms', 'p99 ms', 'last output ms', 'peak Hz', 'CPU ms/frame']
    heads += ['RSS MB', 'lost', 'times slower than seg_ros, mini-UNet']
    for scene, nodes in result['scenes'].items():
        first = next(iter(nodes.values()))
        rows = [
            [
                result['titles'][name],
                *(f'{row[key]:.1f}' for key in ('p50_ms', 'p95_ms', 'p99_ms')),
                _ms(row['last_output_p50_ms']),
                f'{row["peak_hz"]:.1f}',
                f'{row["cpu_ms_per_frame"]:.1f}',
                f'{row["rss_mb"]:.0f}',
                str(row['dropped']),
                f'{times_faster(first, row):.1f}',
            ]
            for name, row in nodes.items()
        ]
        parts += [f'### {scene}', table(heads, rows)]
    parts += ['### Overload (640x480, label mask)', _overload_table(result)]
    parts += ['### Where the time of a frame goes (640x480, label mask)', _account_table(result)]
    return '\n\n'.join(parts)


def _ms(value: float | None) -> str:
    return '-' if value is None else f'{value:.1f}'


def _overload_table(result: dict[str, Any]) -> str:
    heads = ['node', 'idle p50 ms', 'idle p95 ms', 'overload p50 ms', 'overload p95 ms']
    heads += ['offered Hz', 'answered']
    rows = []
    for nodes in result['scenes'].values():
        for name, row in nodes.items():
            if (busy := row.get('overload')) is None:
                continue
            cells = [result['titles'][name], f'{row["p50_ms"]:.1f}', f'{row["p95_ms"]:.1f}']
            cells += [_ms(busy.get(key)) for key in ('p50_ms', 'p95_ms')]
            cells += [f'{busy["offered_hz"]:.1f}', f'{100 * busy["answered_share"]:.0f} %']
            rows.append(cells)
    return table(heads, rows)


def _account_table(result: dict[str, Any]) -> str:
    heads = ['node', 'engine', 'prepare ms', 'inference ms', 'labels ms', 'publish ms']
    heads += [
        'processing ms',
        'stamp to callback ms',
        'around/net, own clock',
        'around/net, stamp',
    ]
    rows = []
    for name, account in result['accounts'].items():
        keys = ('preprocess', 'inference', 'postprocess', 'publish', 'processing')
        rows.append(
            [
                result['titles'][name],
                f'{account["backend"]} {account["precision"]}',
                *(f'{account[f"{key}_time_ms"]:.2f}' for key in keys),
                f'{account["latency_ms"]:.2f}',
                f'{100 * account["around_by_node_share"]:.0f} %',
                f'{100 * account["around_by_stamp_share"]:.0f} %',
            ]
        )
    return table(heads, rows)


def net_only_section(result: dict[str, Any]) -> str:
    """Times of the nets by engine, precision and threads."""
    parts = ['## Net only', conditions(result)]
    for threads, measured in result['threads'].items():
        peaks = ', '.join(f'{k} {v:.0f}' for k, v in measured['peak_gflop_per_s'].items())
        columns = list(
            dict.fromkeys(key for net in measured['nets'].values() for key in net['engines'])
        )
        rows = []
        for name, net in measured['nets'].items():
            engines = [_engine_cell(net['engines'].get(key)) for key in columns]
            rows.append([f'`{name}` {net["size"]}', f'{net["gmac"]:.1f}', *engines])
        parts += [
            f'### Threads: {threads}',
            f'Median ms (times faster than torch eager; times its floor). Peak GFLOP/s: {peaks}.',
            table(['net', 'GMAC', *columns], rows),
        ]
    profiles = {name: layers for name, layers in result['profiles'].items() if layers}
    parts += [
        '### What the layers take (OpenVINO, all threads, ms)',
        *(
            f'`{name}`: ' + ', '.join(f'{kind} {ms:.2f}' for kind, ms in layers.items()) + '.'
            for name, layers in profiles.items()
        ),
    ]
    return '\n\n'.join(parts)


def _engine_cell(row: dict[str, float] | None) -> str:
    if row is None:
        return '-'
    floor = f'; {row["over_floor"]:.2f}' if 'over_floor' in row else ''
    return f'{row["ms"]:.1f} ({row["times_faster"]:.1f}x{floor})'


def scaling_section(result: dict[str, Any]) -> str:
    """Cameras, sizes, classes."""
    base, *_ = result['cases']
    rows = [
        [
            row['case'],
            f'{row["p50_ms"]:.1f}',
            f'{row["p95_ms"]:.1f}',
            f'{times_faster(base, row):.2f}',
            f'{row["peak_hz"]:.1f}',
            f'{row["cpu_ms_per_frame"]:.1f}',
            f'{row["rss_mb"]:.0f}',
        ]
        for row in result['cases']
    ]
    heads = ['case', 'p50 ms', 'p95 ms', 'p50 / base', 'peak Hz, all cameras', 'CPU ms/frame']
    heads.append('RSS MB')
    return '\n\n'.join(
        [
            f'## Scaling (`{result["net"]}`)',
            conditions(result),
            'Base: one camera of 640x480, a net of 640x480 with four classes, random weights.',
            table(heads, rows),
        ]
    )


def startup_section(result: dict[str, Any]) -> str:
    """Imports, first label, memory."""
    starts = [
        [
            f'{name} {row["precision"]}',
            f'{row["first_label_s"]:.2f}',
            f'{row["rss_mb"]:.0f}',
            f'{row["peak_rss_mb"]:.0f}',
        ]
        for name, row in result['starts'].items()
    ]
    imports = [
        [name, f'{row["seconds"]:.2f}', f'{row["rss_mb"]:.0f}']
        for name, row in result['imports'].items()
    ]
    return '\n\n'.join(
        [
            f'## Start-up (`{result["model"]}`, median of {result["repeats"]})',
            conditions(result),
            table(['engine', 'process start to first label s', 'RSS MB', 'peak RSS MB'], starts),
            table(['a Python process that imports', 's', 'RSS MB'], imports),
        ]
    )


def training_section(result: dict[str, Any]) -> str:
    """This package's training loop beside a plain one."""
    rows = [
        [name, f'{row["images_per_s"]:.2f}', f'{100 * row["loader_share"]:.1f} %']
        for name, row in result['median'].items()
    ]
    return '\n\n'.join(
        [
            f'## Training loop ({result["net"]}, {result["size"]}, batch {result["batch"]})',
            conditions(result),
            table(['loop', 'images per s', 'waiting for images'], rows),
            f'Ratio, median of the rounds: {result["ratio_median"]:.2f}.',
        ]
    )


_SECTIONS = {
    'end_to_end': end_to_end_section,
    'net_only': net_only_section,
    'scaling': scaling_section,
    'startup': startup_section,
    'training_loop': training_section,
}


def page(results: Results) -> str:
    """The whole page."""
    parts = [_PAGE.rstrip(), goals_section(results)]
    parts += [_SECTIONS[name](results[name]) for name in _SECTIONS if name in results]
    return '\n\n'.join(parts) + '\n'


def main() -> None:
    """Print the page or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--results', type=Path, default=RESULTS, metavar='FOLDER')
    parser.add_argument('--write', type=Path, metavar='FILE', help='instead of printing')
    args = parser.parse_args()
    text = page(load_results(args.results))
    if args.write is None:
        print(text)
    else:
        args.write.write_text(text, encoding='utf-8')


if __name__ == '__main__':
    main()
