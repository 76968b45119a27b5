"""The report as one HTML file: no script, no network, everything escaped."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seg_ros.evaluation.charts import (
    Line,
    heat_map,
    histogram,
    line_chart,
    reliability_chart,
    stacked_chart,
)
from seg_ros.evaluation.examples import Example
from seg_ros.evaluation.report import Comparison, Report
from seg_ros.result_files import write_text

_STYLE = Path(__file__).with_name('report.css')
# The page may show its own pictures and style; whatever slipped into a name can load nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_LINE_COLORS = ('#1769d2', '#e07b00', '#1b8a4b', '#a23bbd', '#d22f2f')
_VOID_COLOR = '#000000'
_KIND_TITLES = {'best': 'Best', 'median': 'Around the median', 'worst': 'Worst'}


def save_page(result: Report | Comparison, path: Path) -> None:
    """Write the page.

    Raises:
        ValueError: If the file cannot be written.
    """
    write_text(path, render(result))


def render(result: Report | Comparison) -> str:
    """Build the page's HTML."""
    if isinstance(result, Comparison):
        title = ' vs '.join(report.title for report in result.reports)
        body = _comparison(result)
        for report in result.reports:
            body += f'<h1>{html.escape(report.title)}</h1>{_subtitle(report)}{_report(report)}'
    else:
        title = result.title
        body = f'<h1>{html.escape(title)}</h1>{_subtitle(result)}{_report(result)}'
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(_POLICY)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{html.escape(title)}</title>'
        f'<style>{_STYLE.read_text(encoding="utf-8")}</style></head>\n'
        f'<body><main>{body}</main></body></html>\n'
    )


def _report(report: Report) -> str:
    content = report.content
    scored = content['scored'] > 0
    parts = [_tiles(content)]
    if scored:
        parts.append(_section('Classes', _class_table(report)))
        pair = [_section('Confusion, % of each true class', _confusion(content))]
        if content['calibration']['pixels']:
            pair.append(_section('Can the confidence be believed?', _reliability(content)))
        parts.append(f'<div class="two">{"".join(pair)}</div>')
        parts.append(_section('IoU over time', _iou_over_time([report])))
    parts.append(_section('What was seen over time', _shares(report)))
    if content['latency_ms']:
        parts.append(_section('Latency', _latency(content)))
    if any(report.examples.values()):
        parts.append(_section('Frames', _examples(report)))
    if content['skipped']['count']:
        parts.append(_section('Skipped', _skips(content['skipped'])))
    parts.append(_section('Model card', _facts(content['model_card'] or {})))
    measured = {'evaluated at': content['created'], **content['machine']}
    parts.append(_section('Machine', _facts(measured)))
    return ''.join(parts)


def _subtitle(report: Report) -> str:
    source = ', '.join(
        f'{key.replace("_", " ")}: {_plain_text(value)}'
        for key, value in report.content['source'].items()
        if value is not None
    )
    return f'<p class="sub">{html.escape(source)}</p>'


def _tiles(content: Mapping[str, Any]) -> str:
    latency = content['latency_ms']
    tiles = []
    if content['scored']:
        tiles += [
            ('mIoU', _share(content['miou']), False),
            ('pixel accuracy', _share(content['pixel_accuracy']), False),
            ('class accuracy', _share(content['class_accuracy']), False),
            ('boundary F1', _share(content['mean_boundary_f1']), False),
            ('calibration error (ECE)', _share(content['calibration']['ece']), False),
        ]
    tiles += [(f'latency {name}', f'{value:.1f} ms', False) for name, value in latency.items()]
    frames = f'{content["frames"]}'
    if content['scored'] != content['frames']:
        frames = f'{content["scored"]} of {content["frames"]}'
    skipped = content['skipped']['count']
    tiles += [
        ('frames scored', frames, False),
        ('dropped', str(content['dropped']), content['dropped'] > 0),
        ('skipped', str(skipped), skipped > 0),
    ]
    cells = ''.join(
        f'<div class="tile{" warn" if warn else ""}"><b>{html.escape(value)}</b>'
        f'<span>{html.escape(name)}</span></div>'
        for name, value, warn in tiles
        if value != '-'
    )
    return f'<div class="tiles">{cells}</div>'


def _class_table(report: Report) -> str:
    content, colors = report.content, _colors(report)
    rows = []
    for name in content['classes']:
        iou = content['iou'][name]
        meter = f'<span class="meter"><i style="width:{(iou or 0) * 100:.1f}%"></i></span>'
        swatch = f'<span class="swatch" style="background:{colors[name]}"></span>'
        cells = [
            f'<td>{swatch}{html.escape(name)}</td>',
            f'<td>{_share(iou) if iou is not None else "absent"}{meter}</td>',
        ]
        cells += [
            f'<td>{_share(content[key][name])}</td>'
            for key in ('precision', 'recall', 'f1', 'boundary_f1')
        ]
        cells.append(f'<td>{content["pixels"][name]:,}</td>')
        rows.append(f'<tr>{"".join(cells)}</tr>')
    head = ('class', 'IoU', 'precision', 'recall', 'F1', 'boundary F1', 'pixels of truth')
    return _table(head, rows)


def _confusion(content: Mapping[str, Any]) -> str:
    counts = np.asarray(content['confusion'], np.float64)
    columns = list(content['classes'])
    if counts[:, -1].any():
        columns.append('void')
    else:
        counts = counts[:, :-1]
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, counts / np.maximum(totals, 1), math.nan)
    return (
        f'<div class="wide">{heat_map(shares, content["classes"], columns)}</div>'
        '<p class="note">Rows are the truth, columns the prediction.</p>'
    )


def _reliability(content: Mapping[str, Any]) -> str:
    calibration = content['calibration']
    bins = calibration['bins']
    chart = reliability_chart(
        [_number(entry['confidence']) for entry in bins],
        [_number(entry['accuracy']) for entry in bins],
    )
    return (
        f'{chart}<p class="note">Expected calibration error {calibration["ece"]:.4f} over '
        f'{calibration["pixels"]:,} pixels in {len(bins)} bins. Below the dashed line the net is '
        'too sure of itself.</p>'
    )


def _iou_over_time(reports: Sequence[Report]) -> str:
    frames = reports[0].content['per_frame']
    lines = [
        Line(report.title, _LINE_COLORS[i % len(_LINE_COLORS)], _numbers(report, 'miou'))
        for i, report in enumerate(reports)
    ]
    return line_chart(
        _numbers(reports[0], 'time_s') if frames['time_s'] else [],
        lines,
        x_label=_time_label(reports[0]),
        y_label='mIoU of the frame',
        y_range=(0.0, 1.0),
    )


def _shares(report: Report) -> str:
    content, colors = report.content, _colors(report)
    per_frame = content['per_frame']
    layers = [
        Line(name, colors[name], [_number(value) for value in per_frame['shares'][name]])
        for name in content['classes']
    ]
    total = np.sum([layer.values for layer in layers], axis=0)
    if np.size(total) and float(np.min(total)) < 0.9995:
        layers.append(Line('void', _VOID_COLOR, 1 - total))
    chart = stacked_chart(
        _numbers(report, 'time_s'),
        layers,
        x_label=_time_label(report),
        y_label='share of the image',
    )
    confidence = _numbers(report, 'confidence')
    if any(math.isfinite(value) for value in confidence):
        chart += '<h3>Mean confidence</h3>' + line_chart(
            _numbers(report, 'time_s'),
            [Line('confidence', _LINE_COLORS[0], confidence)],
            x_label=_time_label(report),
            y_label='confidence',
            y_range=(0.0, 1.0),
        )
    return chart


def _latency(content: Mapping[str, Any]) -> str:
    timing = content['timing']
    values = [_number(value) for value in timing['per_frame_ms']]
    times = [_number(value) for value in content['per_frame']['time_s']]
    order = sorted(range(len(times)), key=lambda i: times[i])
    timeline = line_chart(
        [times[i] for i in order],
        [Line('latency', _LINE_COLORS[0], [values[i] for i in order])],
        x_label='time in s' if content['source']['kind'] != 'dataset' else 'frame',
        y_label='latency in ms',
        marks_x=timing['dropped_at_s'],
        wide=False,
    )
    note = timing.get('latency_is', '')
    if timing['dropped_at_s']:
        note += f' Red ticks: {content["dropped"]} dropped frames.'
    marks = histogram(values, x_label='latency in ms', marks=content['latency_ms'])
    return (
        f'<div class="two"><div>{marks}</div><div>{timeline}</div></div>'
        f'<p class="note">{html.escape(note.strip())}</p>'
    )


def _examples(report: Report) -> str:
    scored = report.content['scored'] > 0
    what = 'mIoU' if scored else 'mean confidence'
    parts = [f'<p class="note">Chosen by {what} of the frame.</p>']
    for kind, chosen in report.examples.items():
        if chosen:
            parts.append(f'<h3>{_KIND_TITLES[kind]}</h3>')
            parts += [
                _strip(entry, f'{what} {entry.value:.4f}, frame {entry.name}') for entry in chosen
            ]
    if scored:
        parts.append('<p class="note">Error: wrong pixels red, void black.</p>')
    return ''.join(parts)


def _strip(entry: Example, caption: str) -> str:
    figures = ''.join(
        f'<figure><img alt="{html.escape(heading)}" src="{_data_uri(data)}">'
        f'<figcaption>{html.escape(heading)}</figcaption></figure>'
        for heading, data in entry.pictures.items()
    )
    return f'<p class="note">{html.escape(caption)}</p><div class="strip">{figures}</div>'


def _comparison(comparison: Comparison) -> str:
    first = comparison.reports[0].content
    titles = [report.title for report in comparison.reports]
    rows = []
    scored = all(report.content['scored'] for report in comparison.reports)
    if scored:
        for label, key in (('mIoU', 'miou'), ('pixel accuracy', 'pixel_accuracy')):
            rows.append(_row(f'<b>{label}</b>', [r.content[key] for r in comparison.reports]))
        for name in first['classes']:
            values = [report.content['iou'].get(name) for report in comparison.reports]
            rows.append(_row(f'IoU {html.escape(name)}', values))
    for percentile in ('p50', 'p95', 'p99'):
        values = [report.content['latency_ms'].get(percentile) for report in comparison.reports]
        cells = ''.join('<td>-</td>' if v is None else f'<td>{v:.1f} ms</td>' for v in values)
        rows.append(f'<tr><td>latency {percentile}</td>{cells}</tr>')
    body = f'<h1>{html.escape(" vs ".join(titles))}</h1>{_subtitle(comparison.reports[0])}'
    body += _section('Side by side', _table(('', *titles), rows))
    if scored:
        body += _section('IoU over time', _iou_over_time(comparison.reports))
    strips = ''.join(
        _strip(entry, f'{entry.value * 100:.3g} % of the pixels differ, frame {entry.name}')
        for entry in comparison.differences
    )
    return body + _section('Where the first two differ most', strips or 'Nowhere.')


def _row(label: str, values: Sequence[float | None]) -> str:
    """Values of one score, each after the first with its distance to the first."""
    cells: list[str] = []
    for value in values:
        gain = ''
        if cells and value is not None and values[0] is not None:
            change = value - values[0]
            style = 'up' if change > 0 else 'down'
            text = f'{change * 100:+.2f}'
            shown = text not in ('+0.00', '-0.00')
            gain = f' <span class="{style}">{text}</span>' if shown else ''
        cells.append(f'<td>{_share(value)}{gain}</td>')
    return f'<tr><td>{label}</td>{"".join(cells)}</tr>'


def _skips(skipped: Mapping[str, Any]) -> str:
    rows = [
        f'<tr><td class="text">{html.escape(entry["reason"])}</td><td>{entry["count"]}</td>'
        f'<td class="text">{html.escape("; ".join(entry["items"]))}</td></tr>'
        for entry in skipped['reasons']
    ]
    return _table(('reason', 'count', 'which'), rows)


def _facts(facts: Mapping[str, Any]) -> str:
    rows = [
        f'<tr><td>{html.escape(str(key))}</td><td class="text">'
        f'{html.escape(_plain_text(value))}</td></tr>'
        for key, value in facts.items()
        if value not in (None, {}, [])
    ]
    return _table((), rows) if rows else '<p class="note">not at hand</p>'


def _table(head: Iterable[str], rows: Iterable[str]) -> str:
    cells = ''.join(f'<th>{html.escape(name)}</th>' for name in head)
    return f'<div class="wide"><table><tr>{cells}</tr>{"".join(rows)}</table></div>'


def _section(title: str, body: str) -> str:
    return f'<section><h2>{html.escape(title)}</h2>{body}</section>'


def _colors(report: Report) -> dict[str, str]:
    """Class name -> CSS colour."""
    content = report.content
    return {
        name: 'rgb({},{},{})'.format(*color)
        for name, color in zip(content['classes'], content['class_colors'], strict=True)
    }


def _plain_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ', '.join(f'{key}: {_plain_text(entry)}' for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return ', '.join(map(_plain_text, value))
    return str(value)


def _time_label(report: Report) -> str:
    return 'frame' if report.content['source']['kind'] == 'dataset' else 'time in s'


def _numbers(report: Report, key: str) -> list[float]:
    return [_number(value) for value in report.content['per_frame'][key]]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _share(value: float | None) -> str:
    return '-' if value is None else f'{value:.4f}'


def _data_uri(data: bytes) -> str:
    kind = 'jpeg' if data[:2] == b'\xff\xd8' else 'png'
    return f'data:image/{kind};base64,{base64.b64encode(data).decode("ascii")}'
