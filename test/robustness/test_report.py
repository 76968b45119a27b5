"""README says what the recorded runs found."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from seg_ros.commands.interface import with_tables
from test.robustness.report import conditions, fuzz_table, reliability_tables, soak_table
from test.robustness.tally import RESULTS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def soak():
    return json.loads((RESULTS / 'soak.json').read_text(encoding='utf-8'))


def test_readme_carries_the_recorded_figures():
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    assert with_tables(readme, reliability_tables()) == readme, (
        'run: python -m test.robustness.report --write README.md'
    )


def test_every_tally_is_in_the_table_once_and_losses_are_shown():
    result = json.loads((RESULTS / 'fuzz.json').read_text(encoding='utf-8'))
    together = fuzz_table(result).splitlines()[-3]
    assert together.startswith(f'| together | {result["cases"]:,} | ')
    assert together.endswith(' | 0 | 0 | 0 |') == (result['losses'] == 0)
    broken = copy.deepcopy(result)
    for key in ('crashes', 'hangs', 'wrong_sizes'):
        broken['tallies'][0][key] = ['one', 'two']
        result['tallies'][0][key] = []
    assert fuzz_table(broken) != fuzz_table(result)


def test_parameters_have_a_row_of_their_own():
    result = json.loads((RESULTS / 'fuzz.json').read_text(encoding='utf-8'))
    others = [t for t in result['tallies'] if t['name'] != 'parameters into a live node']
    tally = others[0] | {'name': 'parameters into a live node', 'cases': 4321}
    rows = fuzz_table(result | {'tallies': [*others, tally]}).splitlines()
    assert sum(row.startswith('| parameters of any name') and '4,321' in row for row in rows) == 1
    assert not any(
        row.startswith('| parameters')
        for row in fuzz_table(result | {'tallies': others}).splitlines()
    )


def test_problems_are_not_hidden(soak):
    soak['problems'] = ['threads became more']
    assert '**Problems: threads became more.**' in soak_table(soak)


def test_a_short_run_claims_no_slope_of_memory(soak):
    soak['full rate'] |= {'seconds': 60, 'rss_slope_mb_per_h': 1234.5}
    assert '1234.5 MB' not in soak_table(soak)
    soak['full rate']['seconds'] = 1800
    assert '1234.5 MB an hour' in soak_table(soak)
    assert '30 min at full rate' in soak_table(soak)


def test_other_work_on_the_machine_is_told(soak):
    soak['load_average_before'] = 7.0
    assert 'taken beside other work' in conditions(soak)
    soak['load_average_before'] = 0.1
    assert 'taken beside other work' not in conditions(soak)
    assert soak['machine']['processor'] in conditions(soak)
