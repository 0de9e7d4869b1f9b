"""Curves over densities as SVG files that stand alone: one line per method, bars for the deviation over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from eval.numbers import short
from eval.report.canvas import COLOURS, picture, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = Sequence[tuple[float, Sequence[float]]]  # (place on the axis, values over seeds), in any order

CYCLE = ("accent", "second", "fourth", "fifth", "sixth", "better", "worse", "third", "text", "muted")
LINES = ("-", "--", "-.", ":")
# What the page's style sheet says where a picture lies in a page.
STYLE = """<style>
svg{--page:#fff;--text:#1d2433;--muted:#5b6475;--line:#d9dde5;--accent:#0b62c4;--second:#b3541e;--third:#7a8290;
--fourth:#7b3fb5;--fifth:#00796b;--sixth:#a8730a;--better:#1b7f3b;--worse:#b3261e;background:#fff;
font-family:"DejaVu Sans",Verdana,sans-serif}
@media (prefers-color-scheme:dark){svg{--page:#14181f;--text:#e7eaf0;--muted:#a3abb9;--line:#333b48;--accent:#6cb0ff;
--second:#f0a070;--third:#8f98a8;--fourth:#c39bf0;--fifth:#58c9b9;--sixth:#e0b050;--better:#6fcf8b;--worse:#ff8a80;
background:#14181f}}
</style>"""


def curves(name: str, lines: Mapping[str, Curve], *, x: str, y: str, falling: bool = False) -> str:
    """A stand-alone SVG of shares in % against `x`, on a logarithmic axis; `falling` puts large values to the left."""
    places = sorted({place for line in lines.values() for place, _ in line})
    means = {label: sorted((place, _mean(values)) for place, values in line) for label, line in lines.items()}
    ends = [value for line in means.values() for _, (mean, bar) in line for value in (mean - bar, mean + bar)]
    low, high = math.floor(min(ends) - 0.5), math.ceil(max(ends) + 0.5)

    def draw(axes: Axes) -> None:
        axes.set_xscale("log")
        left, right = places[0] / 1.15, places[-1] * 1.15
        axes.set_xlim(*((right, left) if falling else (left, right)))
        shown = _apart(places)
        axes.set_xticks(shown, [short(place) for place in shown])
        axes.minorticks_off()
        axes.set_ylim(low, high)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        last = {label: line[0 if falling else -1] for label, line in means.items()}
        heights = spread([mean for _, (mean, _) in last.values()], 15 * (high - low) / 320, low, high)
        for place, (label, line) in enumerate(means.items()):
            colour, style = COLOURS[CYCLE[place % len(CYCLE)]], LINES[place // len(CYCLE) % len(LINES)]
            axes.plot(
                [at for at, _ in line], [mean for _, (mean, _) in line], style, color=colour, marker="o", markersize=4
            )
            for at, (mean, bar) in line:
                axes.plot([at, at], [mean - bar, mean + bar], color=colour, linewidth=1.2, alpha=0.5)
            axes.annotate(
                label, (1.02, heights[place]), xycoords=("axes fraction", "data"), color=colour,
                va="center_baseline", annotation_clip=False, size=12,
            )  # fmt: skip

    said = "; ".join(
        f"{label}: " + ", ".join(f"{mean:.1f} at {short(at)}" for at, (mean, _) in line)
        for label, line in means.items()
    )
    drawn = picture(draw, name=name, alt=f"{y} against {x}: {said}", size=(720, 380), margins=(52, 190, 12, 46))
    return standalone(drawn)


def standalone(drawn: str) -> str:
    """The picture of a page as a file of its own: with a name space and the colours of the page."""
    head, rest = drawn.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg">{STYLE}{rest}\n'


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation in %; no deviation for one value."""
    mean = 100 * statistics.fmean(values)
    return mean, 100 * statistics.stdev(values) if len(values) > 1 else 0.0


def _apart(places: Sequence[float]) -> list[float]:
    """The places that ticks fit beside each other at."""
    kept: list[float] = []
    for place in places:
        if not kept or place / kept[-1] > 1.35:
            kept.append(place)
    return kept
