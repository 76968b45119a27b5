"""The goals of speed, and what a run says of them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_SCENE = '640x480, label mask'
RESNET_NETS = ('mini_unet', 'linknet', 'nimbronet2')
# ours, the other node, how many times faster
RATIOS = (
    ('seg_ros_mini_unet', 'naive_smp_unet', 15.0),
    ('seg_ros_linknet', 'naive_linknet', 10.0),
)
AROUND_SHARE, TAIL_RATIO, FLOOR_RATIO = 0.15, 1.5, 1.35

Results = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Finding:
    """One goal beside what was measured.

    Attributes:
        goal: In words, with its number.
        measured: The number.
        is_met: Whether it is met; None where it was not measured.
        missed_by: By how much, where it is missed.
        cause: What the figures show to be behind it, where it is missed.
    """

    goal: str
    measured: str
    is_met: bool | None
    missed_by: str = ''
    cause: str = ''


def judge(results: Results) -> list[Finding]:
    """Compare the results with all goals.

    Args:
        results: Name of a result file, without its suffix -> its content.
    """
    return [
        *_ratios(results),
        *_around(results),
        *_tails(results),
        *_floors(results),
        *_overload(results),
    ]


def times_faster(row: dict[str, Any], other: dict[str, Any]) -> float:
    """Median over the rounds of the ratio of two medians that were measured side by side."""
    pairs = zip(row['p50_by_round_ms'], other['p50_by_round_ms'], strict=True)
    return statistics.median(theirs / ours for ours, theirs in pairs)


def _scene(results: Results) -> dict[str, Any]:
    scenes = results.get('end_to_end', {}).get('scenes', {})
    return dict(scenes.get(FIRST_SCENE, {}))


def _title(results: Results, name: str) -> str:
    return str(results.get('end_to_end', {}).get('titles', {}).get(name, name))


def _ours(results: Results) -> list[str]:
    return [name for name in _scene(results) if name.startswith('seg_ros_')]


def _ratios(results: Results) -> Iterator[Finding]:
    scene = _scene(results)
    for ours, theirs, wanted in RATIOS:
        goal = f'{_title(results, ours)} at least {wanted:.0f}x faster, stamp to callback, than '
        goal += f'the {_title(results, theirs)}'
        if not {ours, theirs} <= scene.keys():
            yield Finding(goal, 'not measured', None)
            continue
        found = times_faster(scene[ours], scene[theirs])
        account = results['end_to_end']['accounts'].get(ours, {})
        if found >= wanted:
            yield Finding(goal, f'{found:.1f}x', is_met=True)
            continue
        yield Finding(
            goal,
            f'{found:.1f}x',
            is_met=False,
            missed_by=f'a latency {_percent(wanted / found - 1)} too long',
            cause=_share_of_inference(account),
        )


def _share_of_inference(account: dict[str, Any]) -> str:
    if not account:
        return ''
    share = account['inference_time_ms'] / account['latency_ms']
    return (
        f'{account["backend"]} {account["precision"]} takes {account["inference_time_ms"]:.1f} of '
        f'{account["latency_ms"]:.1f} ms ({_percent(share)}); {_largest_around(account)}'
    )


def _around(results: Results) -> Iterator[Finding]:
    accounts = results.get('end_to_end', {}).get('accounts', {})
    for name, account in accounts.items():
        for key, clock in (
            ('around_by_node_share', 'by its own clock: decode to publish'),
            ('around_by_stamp_share', 'stamp to callback: both ways over DDS as well'),
        ):
            share = account[key]
            is_met = share <= AROUND_SHARE
            yield Finding(
                f'{_title(results, name)}: everything around the net at most '
                f'{_percent(AROUND_SHARE)} of the net, {clock}',
                _percent(share),
                is_met,
                '' if is_met else f'{_percent(share - AROUND_SHARE)} of the net too much',
                '' if is_met else _largest_around(account),
            )


def _largest_around(account: dict[str, Any]) -> str:
    parts = {
        'preparing': account['preprocess_time_ms'],
        'labels from logits': account['postprocess_time_ms'],
        'publishing': account['publish_time_ms'],
        'the way over DDS and through rclpy, both ways': account['transport_ms'],
    }
    listed = sorted(parts.items(), key=lambda item: -item[1])
    return 'around the net: ' + ', '.join(f'{name} {ms:.2f} ms' for name, ms in listed)


def _tails(results: Results) -> Iterator[Finding]:
    for name in _ours(results):
        row = _scene(results)[name]
        ratio = row['p99_ms'] / row['p50_ms']
        is_met = ratio <= TAIL_RATIO
        load = results['end_to_end']['conditions']['load_average_before']
        yield Finding(
            f'{_title(results, name)}: p99 at most {TAIL_RATIO} times p50, stamp to callback',
            f'{ratio:.2f}',
            is_met,
            '' if is_met else f'{row["p99_ms"] - TAIL_RATIO * row["p50_ms"]:.1f} ms',
            ''
            if is_met
            else f'p95 is {row["p95_ms"] / row["p50_ms"]:.2f} times p50, the largest of '
            f'{row["samples"]} {row["max_ms"]:.1f} ms; load average before the start {load}',
        )


def _floors(results: Results) -> Iterator[Finding]:
    by_threads = results.get('net_only', {}).get('threads', {})
    goal = f'{{}}: net in int8 at most {FLOOR_RATIO} times its arithmetic floor'
    if not by_threads:
        yield Finding(goal.format('ResNet nets'), 'not measured', None)
        return
    nets = by_threads[max(by_threads, key=int)]['nets']
    for name, net in nets.items():
        if net['net'] not in RESNET_NETS:
            continue
        row = net['engines'].get('openvino int8')
        if row is None or 'over_floor' not in row:
            reason = net['refused'].get('openvino int8', 'no peak was measured')
            yield Finding(goal.format(name), f'not measured: {reason}', None)
            continue
        is_met = row['over_floor'] <= FLOOR_RATIO
        yield Finding(
            goal.format(name),
            f'{row["over_floor"]:.2f} ({row["ms"]:.1f} ms, floor {row["floor_ms"]:.1f} ms)',
            is_met,
            '' if is_met else f'{row["ms"] - FLOOR_RATIO * row["floor_ms"]:.1f} ms',
            '' if is_met else _layers(results, f'{name} int8'),
        )


def _layers(results: Results, name: str) -> str:
    profile = results['net_only'].get('profiles', {}).get(name, {})
    listed = ', '.join(f'{kind} {ms:.1f} ms' for kind, ms in list(profile.items())[:5])
    return f'time by kind of layer: {listed}' if listed else ''


def _overload(results: Results) -> Iterator[Finding]:
    for name in _ours(results):
        row = _scene(results)[name]
        busy = row.get('overload')
        goal = f'{_title(results, name)}: latency under overload at most one frame worse than idle'
        if not busy or not busy['samples'] or not row['peak_hz']:
            yield Finding(goal, 'not measured', None)
            continue
        frame_ms = 1e3 / row['peak_hz']
        worse_ms = busy['p95_ms'] - row['p95_ms']
        is_met = worse_ms <= frame_ms
        yield Finding(
            goal,
            f'p95 {row["p95_ms"]:.1f} -> {busy["p95_ms"]:.1f} ms, p50 {row["p50_ms"]:.1f} -> '
            f'{busy["p50_ms"]:.1f} ms at {busy["offered_hz"]:.0f} Hz; one frame is '
            f'{frame_ms:.1f} ms',
            is_met,
            '' if is_met else f'{worse_ms - frame_ms:.1f} ms',
            ''
            if is_met
            else f'{_percent(busy["answered_share"])} of the frames are answered; camera and '
            'consumer share the cores with the node',
        )


def _percent(share: float) -> str:
    return f'{100 * share:.0f} %'
