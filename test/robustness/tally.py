"""What a run of many cases came to, and the drawing of the cases."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from seg_ros.evaluation.machine import describe_machine

RESULTS = Path(__file__).parents[2] / 'bench' / 'results'
HANG_S = 5.0  # a single case; the slowest measured takes 0.1 s
_BATCH = 500  # hypothesis keeps what it drew within one run
_PAGE_MB = 4096 / (1 << 20)


@dataclass
class Tally:
    """Counts of one kind of cases.

    Attributes:
        name: What was tried.
        cases: How many were tried.
        served: Cases that gave labels of the right size.
        rejected: Reason, without its numbers -> cases that were refused for it.
        crashes: What was raised that is no refusal.
        wrong_sizes: Cases whose result was not of the size that the message gives.
        hangs: Cases that took more than ``HANG_S``.
        growth_mb: Resident memory at the end less that after a tenth of the cases.
    """

    name: str
    cases: int = 0
    served: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    wrong_sizes: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    growth_mb: float = 0.0

    def reject(self, reason: object) -> None:
        """Count a refusal; its text must be short enough for a log."""
        text = str(reason)
        if len(text) > 2000 or not text:
            self.crashes.append(f'a reason of {len(text)} characters: {text[:80]}')
        self.rejected[_without_values(text)] += 1

    @property
    def losses(self) -> int:
        """Everything that must not happen."""
        return len(self.crashes) + len(self.wrong_sizes) + len(self.hangs)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            'name': self.name,
            'cases': self.cases,
            'served': self.served,
            'rejected': self.rejected.total(),
            'reasons': dict(self.rejected.most_common()),
            'crashes': self.crashes[:20],
            'wrong_sizes': self.wrong_sizes[:20],
            'hangs': self.hangs[:20],
            'memory_growth_mb': round(self.growth_mb, 1),
        }


def draw_cases(
    tally: Tally,
    strategy: Any,
    cases: int,
    check: Any,
    start: int = 0,
    *,
    hang_s: float = HANG_S,
) -> Tally:
    """Call ``check(case)`` for drawn cases and count what comes out.

    Args:
        tally: Where it is counted.
        strategy: Of hypothesis.
        cases: How many.
        check: Returns None for a case that was served and the words for a wrong result; raises
            ValueError to refuse it. Everything else that it raises is a crash.
        start: First seed; the same seed gives the same cases.
        hang_s: Time after which a case counts as hung.
    """

    def one(case: object) -> None:
        began = time.monotonic()
        try:
            wrong = check(case)
        except ValueError as error:
            tally.reject(error)
        except Exception as error:
            tally.crashes.append(f'{type(error).__name__}: {error} from {_shortened(case)}')
        else:
            tally.served += wrong is None
            if wrong is not None:
                tally.wrong_sizes.append(f'{wrong} from {_shortened(case)}')
        tally.cases += 1
        if (took_s := time.monotonic() - began) > hang_s:
            tally.hangs.append(f'{took_s:.1f} s for {_shortened(case)}')

    first_mb = None
    for batch in range(0, cases, _BATCH):
        drawn = settings(
            max_examples=min(_BATCH, cases - batch),
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(seed(start + batch)(given(strategy)(one)))
        drawn()
        if first_mb is None and batch + _BATCH >= cases / 10:
            first_mb = resident_mb()
    tally.growth_mb = resident_mb() - (first_mb or 0.0)
    return tally


def resident_mb(process: int | str = 'self') -> float:
    """Resident memory of a process in MiB."""
    return int(Path(f'/proc/{process}/statm').read_text().split()[1]) * _PAGE_MB


def table(tallies: list[Tally]) -> str:
    """One line for each tally, the most frequent reasons, and the first of what went wrong."""
    head = f'{"":34} {"cases":>7} {"served":>7} {"refused":>8} {"crashes":>8} {"hangs":>6} '
    lines = [head + f'{"wrong":>6} {"growth MB":>10}']
    lines += [
        f'{each.name:34} {each.cases:7} {each.served:7} {each.rejected.total():8} '
        f'{len(each.crashes):8} {len(each.hangs):6} {len(each.wrong_sizes):6} '
        f'{each.growth_mb:10.1f}'
        for each in tallies
    ]
    total = sum((each.rejected for each in tallies), Counter())
    lines += ['', 'refused because of']
    lines += [f'{count:7}  {reason}' for reason, count in total.most_common(25)]
    for each in tallies:
        found = [*each.crashes[:5], *each.wrong_sizes[:5], *each.hangs[:5]]
        lines += [f'{each.name}: {what}' for what in found]
    return '\n'.join(lines)


def save_result(name: str, content: dict[str, Any], load_before: float) -> None:
    """Write ``bench/results/<name>.json`` with date and machine.

    Args:
        name: Of the file.
        content: Plain values.
        load_before: Load average of the minute before the start: what else the machine did.
    """
    RESULTS.mkdir(parents=True, exist_ok=True)
    conditions = {
        'date': datetime.now(timezone.utc).strftime('%Y-%m-%d'),
        'load_average_before': round(load_before, 2),
        'machine': describe_machine(),
    }
    text = json.dumps({**content, **conditions}, indent=2) + '\n'
    (RESULTS / f'{name}.json').write_text(text, encoding='utf-8')


def _without_values(text: str) -> str:
    without_paths = re.sub(r'/(?:[\w.+-]+/)+\S*', '...', text)  # of one machine
    return re.sub(r'\d+', 'N', re.sub(r"b?'.*?'|b?\".*?\"", '...', without_paths))[:90]


def _shortened(case: object) -> str:
    fields = vars(case) if hasattr(case, '__dict__') else {'case': case}
    return ', '.join(f'{name}={str(value)[:40]!r}' for name, value in fields.items())
