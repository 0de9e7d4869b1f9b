"""Figures of the HTML report: heat maps as tables, intervals and lines as inline SVG. Colours live in report.css."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import pairwise

from eval.numbers import Interval, percent, points, words

Cells = Mapping[str, Sequence[float]]  # corruption -> severity 1..5


def _cell(share: float, kind: str, text: str, extra: str = "") -> str:
    share = min(1.0, max(0.0, share))
    return f'<td class="{kind}{extra}" style="--p:{100 * share:.0f}%">{text}</td>'


def _grid(
    title: str, note: str, cells: Cells, paint: Callable[[float, str], str], legend: str, starts: set[str]
) -> str:
    severities = range(1, len(next(iter(cells.values()))) + 1)
    head = "".join(f'<th scope="col">{severity}</th>' for severity in severities)
    rows = []
    for name, values in cells.items():
        mark = ' class="first"' if name in starts else ""
        body = "".join(paint(value, "") for value in values) + paint(sum(values) / len(values), " sum")
        rows.append(f'<tr{mark}><th scope="row">{escape(words(name))}</th>{body}</tr>')
    return (
        f'<figure class="map"><figcaption><b>{escape(title)}</b><span>{escape(note)}</span></figcaption>'
        f'<table><thead><tr><th scope="col" class="corner">severity</th>{head}<th scope="col" class="sum">mean</th>'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table>{legend}</figure>"
    )


def _legend(kinds: Sequence[str], low: str, high: str) -> str:
    """A strip of colour from `low` to `high`; two kinds meet in the middle."""
    ends = [f"var(--{kind})" for kind in kinds]
    stops = [*ends[:1], "var(--cell)", *ends[1:]] if len(ends) == 2 else ["var(--cell)", *ends]
    return f'<div class="legend"><span>{low}</span><i style="--stops:{",".join(stops)}"></i><span>{high}</span></div>'


def accuracy_map(title: str, note: str, cells: Cells, starts: set[str]) -> str:
    """Accuracies in [0, 1]; the colour runs from the lowest ten below the smallest value to 100 %."""
    floor = math.floor(10 * min(min(row) for row in cells.values())) / 10
    floor = min(floor, 0.9)

    def paint(value: float, extra: str) -> str:
        return _cell((value - floor) / (1 - floor), "seq", percent(value), extra)

    return _grid(title, note, cells, paint, _legend(["seq"], f"{100 * floor:.0f} %", "100 %"), starts)


def difference_map(title: str, note: str, cells: Cells, starts: set[str]) -> str:
    """Differences of accuracies; full colour at the largest absolute value (2 points at least)."""
    top = max(0.02, math.ceil(100 * max(abs(v) for row in cells.values() for v in row)) / 100)

    def paint(value: float, extra: str) -> str:
        return _cell(
            abs(value) / top, "pos" if value >= 0 else "neg", points(value, 0 if abs(value) >= 0.0995 else 1), extra
        )

    legend = _legend(["neg", "pos"], f"{points(-top, 0)} points", f"{points(top, 0)} points")
    return _grid(title, note, cells, paint, legend, starts)


def share_map(title: str, note: str, cells: Cells, starts: set[str]) -> str:
    """Shares in [0, 1] on a fixed scale from 0 to 100 %."""

    def paint(value: float, extra: str) -> str:
        return _cell(value, "use", f"{100 * value:.0f}", extra)

    return _grid(title, note, cells, paint, _legend(["use"], "0 %", "100 %"), starts)


def count_map(title: str, note: str, cells: Cells, top: float, starts: set[str]) -> str:
    """Numbers from 1 to `top`, one digit."""

    def paint(value: float, extra: str) -> str:
        return _cell((value - 1) / max(1e-9, top - 1), "use", f"{value:.1f}", extra)

    return _grid(title, note, cells, paint, _legend(["use"], "1", f"{top:g}"), starts)


def whisker(interval: Interval, low: float, high: float, *, zero: bool = False) -> str:
    """A dot with its interval on the scale [low, high]; `zero` draws a line at 0."""
    width = max(high - low, 1e-9)

    def at(value: float) -> float:
        return 4 + 152 * (min(max(value, low), high) - low) / width

    line = f'<line class="zero" x1="{at(0):.1f}" x2="{at(0):.1f}" y1="0" y2="16"/>' if zero else ""
    return (
        f'<svg class="whisker" viewBox="0 0 160 16" role="img" aria-label="{percent(interval["value"])}">{line}'
        f'<line class="rail" x1="4" x2="156" y1="8" y2="8"/>'
        f'<line class="range" x1="{at(interval["low"]):.1f}" x2="{at(interval["high"]):.1f}" y1="8" y2="8"/>'
        f'<circle cx="{at(interval["value"]):.1f}" cy="8" r="3.6"/></svg>'
    )


def severity_lines(series: Mapping[str, tuple[str, Sequence[float]]]) -> str:
    """Accuracy against severity 0 (clean) to 5. `series`: CSS class -> (label, six accuracies)."""
    values = [value for _, row in series.values() for value in row]
    low, high = math.floor(10 * min(values)) / 10, math.ceil(10 * max(values)) / 10
    left, right, top, bottom = 44, 470, 14, 214

    def x(severity: float) -> float:
        return left + (right - left) * severity / 5

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / max(high - low, 1e-9)

    ticks = [low + 0.1 * i for i in range(round(10 * (high - low)) + 1)]
    grid = "".join(
        f'<line class="grid" x1="{left}" x2="{right}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text class="tick" x="{left - 8}" y="{y(t) + 4:.1f}" text-anchor="end">{100 * t:.0f}</text>'
        for t in ticks
    )
    names = ("clean", "1", "2", "3", "4", "5")
    grid += "".join(
        f'<text class="tick" x="{x(i):.1f}" y="{bottom + 20}" text-anchor="middle">{name}</text>'
        for i, name in enumerate(names)
    )
    labels = _spread([y(row[-1]) + 4 for _, row in series.values()])
    lines = "".join(
        f'<g class="{css}"><polyline points="{" ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(row))}"/>'
        + "".join(f'<circle cx="{x(i):.1f}" cy="{y(v):.1f}" r="3"/>' for i, v in enumerate(row))
        + f'<text x="{right + 12}" y="{place:.1f}">{escape(label)} {percent(row[-1])}</text></g>'
        for (css, (label, row)), place in zip(series.items(), labels, strict=True)
    )
    return (
        '<svg class="lines" viewBox="0 0 700 244" role="img" aria-label="Accuracy in percent by severity">'
        f"{grid}{lines}</svg>"
    )


def _spread(places: Sequence[float], gap: float = 17.0) -> list[float]:
    """Move label heights apart until neighbours are `gap` apart, keeping their order."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + gap)
    shift = sum(m - p for m, p in zip(moved, places, strict=True)) / max(1, len(places))
    return [place - shift for place in moved]
