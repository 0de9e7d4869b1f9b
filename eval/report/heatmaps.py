"""Heat maps as HTML tables: text that can be read aloud, copied and printed. Colours live in report.css."""

from __future__ import annotations

import math
from html import escape

from eval.numbers import percent, points, words
from eval.report.blocks import Map

MARKS = {"better": "significantly better", "worse": "significantly worse"}


def heat_map(shown: Map) -> str:
    """A corruption per row, a severity per column, and the mean of each row."""
    severities = range(1, len(next(iter(shown.cells.values()))) + 1)
    head = "".join(f'<th scope="col">{severity}</th>' for severity in severities)
    rows = []
    for name, values in shown.cells.items():
        marks = (shown.marks or {}).get(name, [""] * len(values))
        body = "".join(_cell(shown, value, mark) for value, mark in zip(values, marks, strict=True))
        body += _cell(shown, math.fsum(values) / len(values), "", " sum")
        css = ' class="first"' if name in shown.starts else ""
        long = ' class="long"' if len(name) > 18 else ""
        rows.append(f'<tr{css}><th scope="row"{long}>{escape(words(name))}</th>{body}</tr>')
    css = "map marked" if shown.marks else "map"
    return (
        f'<figure class="{css}"><figcaption><b>{escape(shown.title)}</b><span>{escape(shown.note)}</span></figcaption>'
        f'<table><thead><tr><th scope="col" class="corner">severity</th>{head}<th scope="col" class="sum">mean</th>'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table>{_legend(shown)}</figure>"
    )


def written(shown: Map, value: float) -> str:
    """A value as it stands in its cell."""
    if shown.scale == "accuracy":
        return percent(value)
    if shown.scale == "difference":
        return points(value, 0 if abs(value) >= 0.0995 else 1)
    return f"{100 * value:.0f}" if shown.scale == "share" else f"{value:.1f}"


def _cell(shown: Map, value: float, mark: str, extra: str = "") -> str:
    low, high = _ends(shown)
    if shown.scale == "difference":
        kind, share = ("pos" if value >= 0 else "neg"), abs(value) / high
    else:
        kind, share = ("seq" if shown.scale == "accuracy" else "use"), (value - low) / max(1e-9, high - low)
    share = min(1.0, max(0.0, share))
    sign = f' class="{kind}{extra} sig" title="{MARKS[mark]}"' if mark in MARKS else f' class="{kind}{extra}"'
    return f'<td{sign} style="--p:{100 * share:.0f}%">{written(shown, value)}</td>'


def _ends(shown: Map) -> tuple[float, float]:
    """The values at no colour and at full colour."""
    values = [value for row in shown.cells.values() for value in row]
    if shown.scale == "accuracy":
        return min(0.9, math.floor(10 * sorted(values)[len(values) // 20]) / 10), 1.0  # a few may lie below
    if shown.scale == "difference":
        return 0.0, max(0.02, math.ceil(100 * max(map(abs, values))) / 100)
    return (0.0, 1.0) if shown.scale == "share" else (1.0, shown.top)


def _legend(shown: Map) -> str:
    low, high = _ends(shown)
    if shown.scale == "difference":
        stops, ends = "var(--neg),var(--cell),var(--pos)", (f"{points(-high, 0)} points", f"{points(high, 0)} points")
    elif shown.scale == "count":
        stops, ends = "var(--cell),var(--use)", (f"{low:g}", f"{high:g}")
    else:
        colour = "seq" if shown.scale == "accuracy" else "use"
        below = any(value < low for row in shown.cells.values() for value in row)
        stops = f"var(--cell),var(--{colour})"
        ends = (f"{'≤ ' if below else ''}{100 * low:.0f} %", f"{100 * high:.0f} %")
    return f'<div class="legend"><span>{ends[0]}</span><i style="--stops:{stops}"></i><span>{ends[1]}</span></div>'
