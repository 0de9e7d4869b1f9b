"""One picture of every way to use a deck: accuracy against passes through a card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, MultipleLocator

from eval.numbers import percent, short
from eval.report.canvas import COLOURS, picture
from eval.report.labels import place_labels
from eval.report.plots import Point

SIZE = (1040, 430)
ROOM = 0.25  # of the range of points: how far beyond them a line may lie and still be drawn at its height


Curve = tuple[str, Sequence[tuple[float, float]]]


def passes_picture(
    name: str,
    points: Sequence[Point],
    lines: Mapping[str, tuple[float, str, str]],
    curves: Sequence[Curve] = (),
) -> str:
    """Accuracy in % (upwards) against mean passes per image, each point with its label.

    `curves` are colours with (passes, accuracy) of one system at several costs, which may end in a point.

    `lines` are references: label -> (accuracy, colour, line style), drawn across, and labelled where no point is called
    so. What lies far from the points of ours (`Point.ours`) is not drawn at its height but named at the edge with an
    arrow, so that it does not squeeze the rest. Intervals are not drawn: those of differences are what counts.
    """
    ours = [100 * p.accuracy for p in points if p.ours] + [100 * level for _, curve in curves for _, level in curve]
    room = ROOM * max(max(ours) - min(ours), 1.0)
    near = [100 * level for level, _, _ in lines.values() if min(ours) - room <= 100 * level <= max(ours) + room]
    low, high = math.floor(2 * min([*ours, *near]) - 0.4) / 2, math.ceil(2 * max([*ours, *near]) + 0.4) / 2
    inside = [p for p in points if low <= 100 * p.accuracy <= high]

    def draw(axes: Axes) -> None:
        costs = [p.cost for p in points] + [cost for _, curve in curves for cost, _ in curve]
        axes.set_xlim(min(costs) - 0.35, max(costs) + 0.6)
        axes.xaxis.set_major_locator(MultipleLocator(0.5))
        axes.set_ylim(low, high)
        axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
        axes.set_xlabel("passes through a card, mean per image")
        for text, (level, colour, style) in lines.items():
            if low <= 100 * level <= high:
                axes.axhline(100 * level, color=COLOURS[colour], linestyle=style, linewidth=1.2, alpha=0.6)
                if text not in {p.label for p in points}:
                    _at_the_right(axes, f"{text} {percent(level)}", 100 * level, colour)
        for colour, curve in curves:
            passes, levels = [cost for cost, _ in curve], [100 * level for _, level in curve]
            axes.plot(passes, levels, "-o", color=COLOURS[colour], linewidth=1.2, markersize=4, alpha=0.75)
        for p in inside:
            colour = COLOURS[p.colour]
            axes.plot([p.cost], [100 * p.accuracy], p.marker, color=colour, markersize=8 if p.ours else 6)
        _name_outside(axes, points, lines, low, high)
        (left, right), levels = axes.get_xlim(), [100 * level for level, _, _ in lines.values()]
        drawn = [(left, level, right, level) for level in levels if low <= level <= high]
        place_labels(axes, [(p.cost, 100 * p.accuracy, p.label, p.colour, p.ours) for p in inside], drawn)

    alt = "Accuracy in percent against passes per image: " + "; ".join(
        [f"{p.label} {percent(p.accuracy)} at {short(p.cost)}" for p in points]
        + [f"{text} {percent(level)}" for text, (level, _, _) in lines.items()]
    )
    return picture(draw, name=name, alt=alt, size=SIZE)


def _name_outside(
    axes: Axes, points: Sequence[Point], lines: Mapping[str, tuple[float, str, str]], low: float, high: float
) -> None:
    """What lies above or below the picture, in words at its edge."""
    levels = [(p.label, p.accuracy, f" at {short(p.cost)}") for p in points]
    levels += [(text, level, "") for text, (level, _, _) in lines.items() if text not in {p.label for p in points}]
    for place, arrow, up in (
        ([one for one in levels if 100 * one[1] > high], "↑", True),
        ([one for one in levels if 100 * one[1] < low], "↓", False),
    ):
        said = "; ".join(f"{text} {percent(level)}{at}" for text, level, at in place)
        if said:
            look: Any = {"ha": "left", "va": "top" if up else "bottom", "size": 11.5, "color": COLOURS["muted"]}
            axes.annotate(f"{arrow} {said}", (0.008, 0.985 if up else 0.015), xycoords="axes fraction", **look)


def _at_the_right(axes: Axes, text: str, height: float, colour: str) -> None:
    look: Any = {"ha": "right", "va": "bottom", "size": 11.5, "color": COLOURS[colour]}
    axes.annotate(text, (0.995, height), (0, 3), ("axes fraction", "data"), "offset pixels", **look)
