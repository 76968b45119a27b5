"""The tables of README's Reliability section, made of what ``make fuzz`` and ``make soak`` wrote.

python -m test.robustness.report --write README.md
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from seg_ros.commands.interface import with_tables
from test.robustness.tally import RESULTS
from test.robustness.vitals import MIN_SLOPE_S

# Part of a tally's name -> what the table calls it; the first that fits counts.
_KINDS = {
    'parameters': 'parameters of any name, type and value, into a live node',
    'into a live node': 'messages that lie, damaged and hostile JPEG and PNG, into a live node',
    'in bags': 'the same, read from bags',
    'bag ': 'damaged bags: storage, compression, metadata',
    'image files': 'damaged image files, and files with something behind the picture',
    'external data': 'graphs that hide data outside of them, two engines',
    'exchanged': 'model folders that are exchanged while they are loaded, two engines',
    'services': 'services in any order, model folders that change under a running node',
    'signals': 'signals at any moment, two engines',
    'model.': 'damaged model folders: card and graph, two engines',
    'Image': 'messages as above, into decoder, segmenter and all that is done to labels',
}
_IDLE_LOAD_PER_CORE = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--write', type=Path, metavar='FILE', help='bring its block up to date')
    file = parser.parse_args().write
    tables = reliability_tables()
    if file is None:
        print(tables['reliability'])
        return
    text = file.read_text(encoding='utf-8')
    file.write_text(with_tables(text, tables), encoding='utf-8')


def reliability_tables(results: Path = RESULTS) -> dict[str, str]:
    """Build the block ``reliability`` of README from the recorded results."""
    fuzz, soak = (
        json.loads((results / f'{name}.json').read_text(encoding='utf-8'))
        for name in ('fuzz', 'soak')
    )
    parts = [fuzz_table(fuzz), conditions(fuzz), soak_table(soak), conditions(soak)]
    return {'reliability': '\n\n'.join(parts)}


def fuzz_table(result: dict[str, Any]) -> str:
    """Cases by kind, and what must be zero."""
    heads = ['`make fuzz`', 'cases', 'served', 'refused', 'crashes', 'hangs', 'wrong or lost']
    kinds = {kind: [0] * (len(heads) - 1) for kind in _KINDS.values()}
    for tally in result['tallies']:
        kind = next(kind for part, kind in _KINDS.items() if part in tally['name'])
        counts = [tally[key] for key in ('cases', 'served', 'rejected')]
        counts += [len(tally[key]) for key in ('crashes', 'hangs', 'wrong_sizes')]
        kinds[kind] = [sum(pair) for pair in zip(kinds[kind], counts, strict=True)]
    total = [sum(column) for column in zip(*kinds.values(), strict=True)]
    grown_mb = max(tally['memory_growth_mb'] for tally in result['tallies'])
    tried = {kind: counts for kind, counts in kinds.items() if counts[0]}
    rows = [[kind, *(f'{count:,}' for count in counts)] for kind, counts in tried.items()]
    rows.append(['together', *(f'{count:,}' for count in total)])
    lines = [f'| {" | ".join(heads)} |', '|---|' + '---:|' * len(total)]
    lines += [f'| {" | ".join(row)} |' for row in rows]
    return '\n'.join(lines) + f'\n\nMemory grew by {grown_mb:.0f} MB at most.'


def soak_table(result: dict[str, Any]) -> str:
    """Load, faults and killed trainings."""
    full, hurried = result['full rate'], result['overload']
    node, training = result['node killed'], result['training killed']
    minutes = f'{full["seconds"] / 60:g}'
    slope = f'{full["rss_slope_mb_per_h"]:.1f} MB an hour over the second half'
    if full['seconds'] < MIN_SLOPE_S:
        slope = 'the run was too short for a slope'
    after_s = ', '.join(f'{each:.1f}' for each in node['next_label_after_s'])
    rows = {
        f'{minutes} min at full rate, with {full["bad"]} bad frames, {full["parameters"]} '
        f'changes of parameters, {full["switches"]} of the model': f'{full["sent"]:,} frames '
        f'sent, {full["lost"]} valid ones lost, {full["unaccounted"]} unaccounted for',
        'latency p50 / p99': f'{full["latency_p50_ms"]:.0f} / {full["latency_p99_ms"]:.0f} ms',
        'memory first / last': f'{full["rss_first_mb"]:.0f} / {full["rss_last_mb"]:.0f} MB; '
        f'{slope}',
        'threads, file handles first / last': f'{full["threads_first"]} / '
        f'{full["threads_last"]}, {full["file_handles_first"]} / {full["file_handles_last"]}',
        f'overload, {hurried["factor"]:g} times what one frame after the other takes': f'p50 '
        f'{hurried["latency_p50_ms"]:.0f} ms (unhurried {hurried["unhurried_p50_ms"]:.0f} ms), '
        f'{hurried["dropped"]:,} of {hurried["sent"]:,} dropped, {hurried["unaccounted"]} '
        'unaccounted for',
        'node killed under load, until the next label': f'{after_s} s',
        f'training killed {training["kills"]} times': f'{training["unreadable"]} unreadable '
        f'checkpoints, {training["lost"]} saved epochs lost',
    }
    lines = ['| `make soak` | |', '|---|---|', *(f'| {a} | {b} |' for a, b in rows.items())]
    problems = '; '.join(result['problems'])
    return '\n'.join(lines) + (f'\n\n**Problems: {problems}.**' if problems else '')


def conditions(result: dict[str, Any]) -> str:
    """The machine, and where times were measured whether it had other work."""
    machine = result['machine']
    text = f'{machine["processor"]}, {machine["cores"]} cores, {result["date"]}'
    if 'model' not in result:
        return f'{text}.'
    load = result['load_average_before']
    text += f', `{result["model"]}`, camera and node on the same machine; load average '
    text += f'{load:.1f} before the start'
    if load > _IDLE_LOAD_PER_CORE * machine['cores']:
        return f'{text}: **taken beside other work**, so times are upper bounds.'
    return f'{text}.'


if __name__ == '__main__':
    main()
