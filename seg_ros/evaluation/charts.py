"""Charts as inline SVG, drawn with nothing but text: a report opens anywhere, without a network.

Colours of lines and text come from the page's style sheet, so charts follow its light and dark
scheme. Every text is escaped.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDE, _NARROW, _HEIGHT = 1100, 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 36
_MAX_POINTS = 600  # more are averaged: the chart has no more pixels


@dataclass(frozen=True)
class Line:
    """One curve: name for the legend, colour in CSS, and values (NaN leaves a gap)."""

    name: str
    color: str
    values: Sequence[float]


@dataclass(frozen=True)
class _Axes:
    """Maps data to the picture."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    width: int = _NARROW

    def x(self, value: float) -> float:
        span = (self.x_high - self.x_low) or 1.0
        return _LEFT + (value - self.x_low) / span * (self.width - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        span = (self.y_high - self.y_low) or 1.0
        return _HEIGHT - _BOTTOM - (value - self.y_low) / span * (_HEIGHT - _TOP - _BOTTOM)


def line_chart(
    x: Sequence[float],
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    y_range: tuple[float, float] | None = None,
    marks_x: Sequence[float] = (),
    wide: bool = True,
) -> str:
    """Curves over a common x.

    Args:
        x: Rising.
        lines: Of the same length as ``x`` each.
        x_label: With the unit.
        y_label: With the unit.
        y_range: Ends of the axis; from 0 to the largest value when None.
        marks_x: Where red ticks stand at the top, such as dropped frames.
        wide: Whether the chart has the whole width of the page.
    """
    xs = np.asarray(x, np.float64)
    tables = [np.asarray(line.values, np.float64) for line in lines]
    finite = np.concatenate([table[np.isfinite(table)] for table in tables] or [np.zeros(0)])
    low, high = y_range or (0.0, float(finite.max()) * 1.05 if finite.size else 1.0)
    everything = [*xs[np.isfinite(xs)].tolist(), *marks_x]
    ends = (min(everything, default=0.0), max(everything, default=1.0))
    axes = _Axes(*ends, low, high or 1.0, _WIDE if wide else _NARROW)
    parts = [_frame(axes, x_label, y_label)]
    for line, table in zip(lines, tables, strict=True):
        parts.append(
            f'<path class="line" stroke="{_attr(line.color)}" d="{_path(axes, xs, table)}"/>'
        )
    for mark in marks_x:
        at = axes.x(mark)
        parts.append(f'<path class="mark" d="M{at:.1f} {_TOP}v14"/>')
    legend = _legend([(line.name, line.color) for line in lines]) if len(lines) > 1 else ''
    return _svg(axes, parts, y_label) + legend


def stacked_chart(
    x: Sequence[float], layers: Sequence[Line], *, x_label: str, y_label: str
) -> str:
    """Shares that add up to one, as areas on top of each other."""
    xs = np.asarray(x, np.float64)
    ends = (float(xs.min()), float(xs.max())) if xs.size else (0.0, 1.0)
    axes = _Axes(*ends, 0, 1, _WIDE)
    parts = []
    below = np.zeros(len(xs))
    xs_short = _averaged(xs)
    for layer in layers:
        above = below + np.nan_to_num(np.asarray(layer.values, np.float64))
        upper = _points(axes, xs_short, _averaged(above))
        lower = _points(axes, xs_short, _averaged(below))[::-1]
        if upper:
            parts.append(
                f'<path class="area" fill="{_attr(layer.color)}" '
                f'd="M{"L".join([*upper, *lower])}Z"/>'
            )
        below = above
    parts.append(_frame(axes, x_label, y_label))
    return _svg(axes, parts, y_label) + _legend([(layer.name, layer.color) for layer in layers])


def histogram(values: Sequence[float], *, x_label: str, marks: dict[str, float]) -> str:
    """Counts of values in bins, with named upright lines."""
    numbers = np.asarray([value for value in values if math.isfinite(value)])
    if not numbers.size:
        return ''
    # One outlier must not squeeze all the rest into one bar.
    top = max(float(np.percentile(numbers, 99.5)) * 1.15, float(numbers.min()) * 1.001, 1e-9)
    counts, edges = np.histogram(np.minimum(numbers, top), bins=40, range=(0.0, top))
    axes = _Axes(0.0, top, 0.0, float(counts.max()) * 1.05)
    parts = [_frame(axes, x_label, 'frames')]
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            y = axes.y(float(count))
            parts.append(
                f'<rect class="bar" x="{axes.x(left):.1f}" y="{y:.1f}" '
                f'width="{axes.x(right) - axes.x(left) - 0.6:.1f}" '
                f'height="{_HEIGHT - _BOTTOM - y:.1f}"/>'
            )
    for row, (name, value) in enumerate(marks.items()):
        at = axes.x(min(value, top))
        parts.append(f'<path class="mark" d="M{at:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>')
        # Beside its line, towards the middle: p99 stands near the right end.
        anchor, shift = ('end', -4) if at > axes.width * 0.7 else ('start', 4)
        parts.append(_text(at + shift, _TOP + 12 + 13 * row, f'{name} {value:.1f}', anchor))
    return _svg(axes, parts, x_label)


def reliability_chart(confidence: Sequence[float], accuracy: Sequence[float]) -> str:
    """Accuracy over confidence; a confidence that can be believed lies on the diagonal.

    Args:
        confidence: Mean confidence per bin, NaN for empty bins.
        accuracy: Share of right pixels per bin, alike.
    """
    axes = _Axes(0.0, 1.0, 0.0, 1.0)
    parts = [_frame(axes, 'confidence', 'share of right pixels')]
    start, end = (axes.x(0.0), axes.y(0.0)), (axes.x(1.0), axes.y(1.0))
    parts.append(
        f'<path class="guide" d="M{start[0]:.1f} {start[1]:.1f}L{end[0]:.1f} {end[1]:.1f}"/>'
    )
    pairs = [(c, a) for c, a in zip(confidence, accuracy, strict=True) if math.isfinite(c)]
    if pairs:
        points = [f'{axes.x(c):.1f} {axes.y(a):.1f}' for c, a in pairs]
        parts.append(f'<path class="line accent" d="M{"L".join(points)}"/>')
        parts += [
            f'<circle class="dot" cx="{axes.x(c):.1f}" cy="{axes.y(a):.1f}" r="3.5"/>'
            for c, a in pairs
        ]
    return _svg(axes, parts, 'reliability curve')


def heat_map(shares: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> str:
    """Table of shares 0..1 as coloured cells with their percentage.

    Args:
        shares: (rows, columns), NaN for rows without pixels.
        rows: Names.
        columns: Names.
    """
    cell_w, cell_h, left, top = 48, 26, 110, 84
    width, height = left + cell_w * len(columns) + 20, top + cell_h * len(rows) + 6
    parts = []
    for j, name in enumerate(columns):
        at = left + cell_w * (j + 0.5)
        parts.append(
            f'<text class="tick" transform="translate({at:.0f} {top - 6}) rotate(-40)">'
            f'{html.escape(name)}</text>'
        )
    for i, name in enumerate(rows):
        y = top + cell_h * i
        parts.append(_text(left - 6, y + 17, name, 'end'))
        for j in range(len(columns)):
            value = float(shares[i, j])
            if not math.isfinite(value):
                continue
            parts.append(
                f'<rect class="cell" x="{left + cell_w * j}" y="{y}" width="{cell_w - 1}" '
                f'height="{cell_h - 1}" style="fill-opacity:{0.04 + 0.96 * value:.3f}"/>'
            )
            if value >= 0.0005:
                style = 'inside' if value > 0.5 else 'tick'
                parts.append(
                    f'<text class="{style}" text-anchor="middle" x="{left + cell_w * (j + 0.5)}" '
                    f'y="{y + 17}">{value * 100:.1f}</text>'
                )
    return (
        f'<svg viewBox="0 0 {width} {height}" style="max-width:{width}px" role="img" '
        f'aria-label="confusion matrix">{"".join(parts)}</svg>'
    )


def _frame(axes: _Axes, x_label: str, y_label: str) -> str:
    """Axes, grid, ticks and their labels."""
    bottom, right = _HEIGHT - _BOTTOM, axes.width - _RIGHT
    parts = []
    for value in _ticks(axes.y_low, axes.y_high):
        y = axes.y(value)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
        parts.append(_text(_LEFT - 6, y + 4, f'{value:g}', 'end'))
    parts += [
        _text(axes.x(value), bottom + 15, f'{value:g}', 'middle')
        for value in _ticks(axes.x_low, axes.x_high)
    ]
    parts.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>')
    parts.append(_text((_LEFT + right) / 2, _HEIGHT - 4, x_label, 'middle'))
    parts.append(
        f'<text class="tick" text-anchor="middle" '
        f'transform="translate(12 {(_TOP + bottom) / 2:.0f}) rotate(-90)">'
        f'{html.escape(y_label)}</text>'
    )
    return ''.join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers between the ends."""
    if not high > low:
        return [low]
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 6)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(k * step, 10) for k in range(first, last + 1)]


def _averaged(values: np.ndarray) -> np.ndarray:
    """At most ``_MAX_POINTS`` means of neighbours; NaN where all of them are."""
    if len(values) <= _MAX_POINTS:
        return values
    groups = np.array_split(values, _MAX_POINTS)
    return np.array([np.nanmean(g) if np.isfinite(g).any() else math.nan for g in groups])


def _points(axes: _Axes, xs: np.ndarray, ys: np.ndarray) -> list[str]:
    return [f'{axes.x(x):.1f} {axes.y(y):.1f}' for x, y in zip(xs, ys, strict=True)]


def _path(axes: _Axes, xs: np.ndarray, ys: np.ndarray) -> str:
    """Move and line commands; a gap where a value is missing."""
    commands, pen_down = [], False
    for x, y in zip(_averaged(xs), _averaged(ys), strict=True):
        if math.isfinite(x) and math.isfinite(y):
            commands.append(f'{"L" if pen_down else "M"}{axes.x(x):.1f} {axes.y(y):.1f}')
            pen_down = True
        else:
            pen_down = False
    # A single point shows as a dot: round line caps.
    return ''.join(commands) + ('h0' if len(commands) == 1 else '')


def _legend(entries: Sequence[tuple[str, str]]) -> str:
    items = ''.join(
        f'<span><i style="background:{_attr(color)}"></i>{html.escape(name)}</span>'
        for name, color in entries
    )
    return f'<p class="legend">{items}</p>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text class="tick" text-anchor="{anchor}" x="{x:.1f}" y="{y:.1f}">'
        f'{html.escape(text)}</text>'
    )


def _svg(axes: _Axes, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {axes.width} {_HEIGHT}" role="img" aria-label="{_attr(label)}">'
        f'{"".join(parts)}</svg>'
    )


def _attr(text: str) -> str:
    return html.escape(text, quote=True)
