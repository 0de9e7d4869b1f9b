"""The pictures of a report, each a pure function from plain numbers to inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, MultipleLocator, NullLocator

from eval.numbers import Interval, percent, short
from eval.report.canvas import COLOURS, picture, spread
from eval.report.labels import place_labels

ROUTE_STYLES: Mapping[str, tuple[str, str, str]] = {  # colour, line style, marker
    "gated": ("accent", "-", "o"),
    "uniform": ("second", "--", "s"),
    "best_card": ("third", "-", "D"),
    "random_card": ("third", ":", "v"),
    "random_cards": ("third", ":", "v"),
    "confidence": ("fourth", "-.", "^"),
    "classifier": ("sixth", "-.", "P"),
    "gate_spectral": ("fifth", "-", "o"),
    "gate_softmax": ("sixth", "-", "o"),
    "gate_router": ("fourth", "-", "o"),
    "gate_cascade": ("better", "-", "o"),
    "gate_spectrum_cascade": ("worse", "-", "o"),
    "gate_hedged_cascade": ("second", ":", "o"),
    "gate_guarded_cascade": ("better", ":", "o"),
    "gate_refereed_cascade": ("accent", ":", "o"),
    "gate_reliability": ("text", "-", "o"),
    "cell_oracle": ("muted", ":", "x"),
    "oracle": ("muted", ":", "x"),
}
CYCLE = ("fifth", "sixth", "second", "fourth", "accent", "third")


@dataclass(frozen=True)
class Point:
    """One system in a picture of accuracy against cost; `others` are published rows. `reach` is a smaller cost at which
    the same system could be counted, drawn as a thin line."""

    label: str
    cost: float
    accuracy: float
    interval: Interval | None = None
    colour: str = "muted"
    marker: str = "o"
    ours: bool = True
    reach: float | None = None


def severity_lines(name: str, series: Mapping[str, tuple[str, Sequence[float]]]) -> str:
    """Accuracy against severity 0 (clean) to 5. `series`: route -> (label, six accuracies)."""
    values = [100 * value for _, row in series.values() for value in row]
    low, high = 5 * math.floor(min(values) / 5), 5 * math.ceil(max(values) / 5)

    def draw(axes: Axes) -> None:
        axes.set_xlim(-0.1, 5)
        axes.set_ylim(low, high)
        axes.set_xticks(range(6), ["clean", "1", "2", "3", "4", "5"])
        axes.yaxis.set_major_locator(MultipleLocator(5 if high - low <= 35 else 10))
        axes.grid(visible=False, axis="x")
        pixels = (high - low) / 224
        heights = spread([100 * row[-1] for _, row in series.values()], 16 * pixels, low, high)
        for (route, (label, row)), height in zip(series.items(), heights, strict=True):
            colour, line, marker = ROUTE_STYLES[route]
            axes.plot(range(6), [100 * v for v in row], line, color=COLOURS[colour], marker=marker, markersize=4.5)
            _beside(axes, (5.12, height), f"{label} {percent(row[-1])}", colour)

    alt = "Accuracy in percent by severity: " + "; ".join(
        f"{label} {', '.join(map(percent, row))}" for label, row in series.values()
    )
    return picture(draw, name=name, alt=alt, size=(516, 270), margins=(34, 172, 12, 34))


def cost_picture(
    name: str,
    points: Sequence[Point],
    *,
    axis: str,
    scale: Literal["linear", "log"] = "log",
    size: tuple[int, int] = (516, 440),
    levels: Mapping[str, float] | None = None,
) -> str:
    """Accuracy in % (upwards) against a cost; labels stand where they cover least.

    `levels` are accuracies of systems whose cost is unknown: lines across the picture.
    """
    ends = [100 * end for p in points for end in (p.interval or {"value": p.accuracy}).values()]
    ends += [100 * level for level in (levels or {}).values()]
    low, high = math.floor(min(ends) - 0.4), math.ceil(max(ends) + 0.4)
    costs = [cost for p in points for cost in (p.cost, p.reach or p.cost)]

    def draw(axes: Axes) -> None:
        axes.set_xscale(scale)
        if scale == "log":
            axes.set_xlim(min(costs) / 1.6, max(costs) * 1.6)
            _decades(axes, min(costs) / 1.6, max(costs) * 1.6)
        else:
            axes.set_xlim(min(costs) - 0.7, max(costs) + 0.7)
            axes.xaxis.set_major_locator(MultipleLocator(1))
        axes.set_ylim(low, high)
        axes.yaxis.set_major_locator(MaxNLocator(7, integer=True, steps=[1, 2, 5, 10]))
        axes.set_xlabel(axis)
        look: Any = {"ha": "right", "size": 11.5, "color": COLOURS["muted"]}
        for text, level in (levels or {}).items():
            axes.axhline(100 * level, color=COLOURS["muted"], linewidth=1, alpha=0.6)
            axes.annotate(text, (0.99, 100 * level), (0, 3), ("axes fraction", "data"), "offset pixels", **look)
        for p in points:
            colour = COLOURS[p.colour]
            if p.reach:
                axes.plot([p.reach, p.cost], [100 * p.accuracy] * 2, ":", color=colour, linewidth=1.2)
            if p.interval:
                axes.plot([p.cost] * 2, [100 * p.interval["low"], 100 * p.interval["high"]], color=colour, alpha=0.45)
            face = colour if p.ours else COLOURS["page"]
            axes.plot(
                [p.cost],
                [100 * p.accuracy],
                p.marker,
                color=colour,
                markerfacecolor=face,
                markersize=7 if p.ours else 6,
            )
        lines = [(p.cost, 100 * p.interval["low"], p.cost, 100 * p.interval["high"]) for p in points if p.interval]
        lines += [(p.reach, 100 * p.accuracy, p.cost, 100 * p.accuracy) for p in points if p.reach]
        place_labels(axes, [(p.cost, 100 * p.accuracy, p.label, p.colour, p.ours) for p in points], lines)

    alt = f"Accuracy in percent against {axis}: " + "; ".join(
        f"{p.label} {percent(p.accuracy)} at {short(p.cost)}" for p in points
    )
    return picture(draw, name=name, alt=alt, size=size)


def reliability(name: str, bins: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Accuracy against confidence, a dot per bin as large as its share of images; `bins`: "raw", "tempered" -> bins."""
    looks = {"raw": ("second", "--", "s"), "tempered": ("accent", "-", "o")}

    def draw(axes: Axes) -> None:
        _square(axes, "confidence, %", "accuracy, %")
        axes.plot([0, 100], [0, 100], color=COLOURS["third"], linewidth=1, alpha=0.6)
        for place, (kind, rows) in enumerate(bins.items()):
            colour, line, marker = looks[kind]
            full = [row for row in rows if row["count"]]
            most = max((row["count"] for row in full), default=1)
            x, y = [100 * row["confidence"] for row in full], [100 * row["accuracy"] for row in full]
            axes.plot(x, y, line, color=COLOURS[colour], linewidth=1.6)
            sizes = [8 + 70 * row["count"] / most for row in full]
            axes.scatter(x, y, s=sizes, color=COLOURS[colour], marker=marker, alpha=0.75, linewidths=0)
            _beside(axes, (4, 95 - 8 * place), {"raw": "as pooled", "tempered": "tempered"}[kind], colour)

    return picture(draw, name=name, alt="Accuracy against confidence", size=(330, 310), margins=(52, 10, 8, 40))


def risk_coverage(name: str, curves: Mapping[str, tuple[str, Sequence[Sequence[float]]]]) -> str:
    """Share of errors among the answered against the share answered; `curves`: route -> (label, [coverage, risk])."""
    top = max(100 * risk for _, rows in curves.values() for coverage, risk in rows if coverage > 0.1)

    def draw(axes: Axes) -> None:
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 1.05 * top)
        axes.set_xlabel("share of images answered, %")
        axes.set_ylabel("errors among them, %")
        heights = spread([100 * rows[-1][1] for _, rows in curves.values()], 16 * 1.05 * top / 222, 0, top)
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        for (route, (label, rows)), height in zip(curves.items(), heights, strict=True):
            colour, line, _ = ROUTE_STYLES[route]
            shown = [(100 * coverage, 100 * risk) for coverage, risk in rows if 100 * risk <= 1.05 * top]
            axes.plot(*zip(*shown, strict=True), line, color=COLOURS[colour], linewidth=1.8)
            _beside(axes, (101.5, height), label, colour)

    return picture(draw, name=name, alt="Risk against coverage", size=(516, 270), margins=(46, 172, 8, 40))


def reference_spectra(
    name: str, clean: Sequence[float], references: Mapping[str, Sequence[float]], *, minus: bool
) -> str:
    """Every reference by spatial frequency: minus clean test images, or as it is with the clean ones beside it."""
    curves = {"clean": clean, **references}
    looks = dict(zip(curves, ("third", *(CYCLE[place % len(CYCLE)] for place in range(len(references)))), strict=True))
    shown = {
        key: [a - b for a, b in zip(row, clean, strict=True)] if minus else list(row) for key, row in curves.items()
    }
    low, high = (end(end(row) for row in shown.values()) for end in (min, max))
    pad = 0.06 * (high - low)

    def draw(axes: Axes) -> None:
        _spectrum_axes(axes, len(clean))
        axes.set_xlabel("spatial frequency, cycles per image")
        axes.set_ylabel("log amplitude − clean" if minus else "log amplitude")
        axes.set_ylim(low - pad, high + pad)
        heights = spread([row[-1] for row in shown.values()], 16 * (high - low + 2 * pad) / 220, low, high)
        for (key, row), height in zip(shown.items(), heights, strict=True):
            axes.plot(row, color=COLOURS[looks[key]], linewidth=1.2 if key == "clean" else 2)
            _beside(axes, (len(clean) - 0.7, height), key, looks[key])

    return picture(draw, name=name, alt="Spectra of the references", size=(516, 270), margins=(52, 120, 8, 42))


def spectrum(
    name: str,
    clean: Sequence[float],
    severities: Sequence[Sequence[float]],
    references: Mapping[str, Sequence[float]],
    limits: tuple[float, float],
) -> str:
    """One corruption minus clean at each severity (darker is stronger), over the references (dashed)."""

    def draw(axes: Axes) -> None:
        _spectrum_axes(axes, len(clean))
        axes.tick_params(labelsize=10, pad=2)
        axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
        axes.set_ylim(*limits)
        for place, row in enumerate(references.values()):
            gaps = [_inside(a - b, limits) for a, b in zip(row, clean, strict=True)]
            axes.plot(gaps, "--", color=COLOURS[CYCLE[place % len(CYCLE)]], linewidth=1.2)
        for place, row in enumerate(severities, 1):
            gaps = [_inside(a - b, limits) for a, b in zip(row, clean, strict=True)]
            axes.plot(gaps, color=COLOURS["text"], alpha=0.16 + 0.16 * place, linewidth=1.3)

    return picture(draw, name=name, alt="Spectrum minus clean", size=(190, 110), margins=(24, 6, 6, 18))


def attack_curves(name: str, curves: Mapping[str, tuple[str, str, Sequence[tuple[float, Interval]]]]) -> str:
    """Accuracy against the size of an attack; `curves`: key -> (label, route, (eps * 255, interval) ...)."""
    top = max(eps for _, _, rows in curves.values() for eps, _ in rows)

    def draw(axes: Axes) -> None:
        axes.set_xlim(0, top * 1.03)
        axes.set_ylim(0, 100)
        axes.set_xlabel("size of the attack, steps of 1/255 (largest change of a pixel)")
        axes.set_ylabel("accuracy, %")
        heights = spread([100 * rows[-1][1]["value"] for _, _, rows in curves.values()], 16 * 100 / 222, 0, 100)
        for (label, route, rows), height in zip(curves.values(), heights, strict=True):
            colour, _, marker = ROUTE_STYLES.get(route, ("muted", "-", "o"))
            line = "--" if "square" in label.lower() else "-"
            x = [eps for eps, _ in rows]
            axes.plot(
                x, [100 * i["value"] for _, i in rows], line, color=COLOURS[colour], marker=marker, markersize=4.5
            )
            for eps, interval in rows:
                axes.plot([eps] * 2, [100 * interval["low"], 100 * interval["high"]], color=COLOURS[colour], alpha=0.4)
            _beside(axes, (top * 1.05, height), label, colour)

    return picture(draw, name=name, alt="Accuracy under attack", size=(600, 270), margins=(52, 200, 8, 40))


def _beside(axes: Axes, place: tuple[float, float], text: str, colour: str) -> None:
    axes.annotate(text, place, color=COLOURS[colour], va="center_baseline", annotation_clip=False, size=12)


def _square(axes: Axes, x: str, y: str) -> None:
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xticks(range(0, 101, 20))
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _spectrum_axes(axes: Axes, count: int) -> None:
    axes.set_xlim(0, count - 1)
    axes.xaxis.set_major_locator(FixedLocator([0, (count - 1) / 2, count - 1]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _decades(axes: Axes, low: float, high: float) -> None:
    steps = (1, 3) if high / low > 100 else (1, 2, 5)
    ticks = [s * 10.0**e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for s in steps]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def _inside(value: float, limits: tuple[float, float]) -> float:
    return min(max(value, limits[0]), limits[1])
