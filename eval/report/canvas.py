"""matplotlib to inline SVG: text stays text, colours are CSS variables of the page, the same bytes on every run.

Figures are laid out in CSS pixels (72 dots per inch). Colours are drawn as stand-ins and replaced by the variables of
report.css afterwards, so that one picture follows the light, dark and printed page.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

VARIABLES = (
    "page",
    "text",
    "muted",
    "line",
    "accent",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "better",
    "worse",
)
COLOURS = {name: f"#0a0b{place:02x}" for place, name in enumerate(VARIABLES)}
_NAMES = {colour: name for name, colour in COLOURS.items()}

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.id": None,
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "figure.facecolor": "none",
    "figure.dpi": 72,
    "savefig.dpi": 72,
    "axes.facecolor": "none",
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.labelsize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.8,
    "text.color": COLOURS["text"],
    "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.pad": 5,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 2,
    "lines.solid_joinstyle": "round",
    "lines.solid_capstyle": "round",
}


@contextmanager
def _style(name: str) -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for key, value in (STYLE | {"svg.hashsalt": name}).items():
            matplotlib.rcParams[key] = value  # type: ignore[index]
        yield


def picture(
    draw: Callable[[Axes], None],
    *,
    name: str,
    alt: str,
    size: tuple[int, int],
    margins: tuple[int, int, int, int] = (46, 12, 10, 40),
) -> str:
    """The SVG of what `draw` puts on the axes.

    `name` must be the picture's own on its page (element ids are made from it); `size` is (width, height) and `margins`
    are (left, right, top, bottom) around the axes, in CSS pixels; `alt` says in words what is drawn.
    """
    width, height = size
    left, right, top, bottom = margins
    with _style(name):
        figure = Figure(figsize=(width / 72, height / 72))
        canvas = FigureCanvasSVG(figure)
        figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
        draw(figure.add_subplot())
        stream = io.StringIO()
        canvas.print_svg(stream, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return _inline(stream.getvalue(), alt, size)


def _inline(text: str, alt: str, size: tuple[int, int]) -> str:
    """What matplotlib wrote, as a small element of a page: no prologue, no style sheet, variables for colours."""
    body = text[text.index("<defs>") : text.rindex("</svg>")]
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->|<clipPath.*?</clipPath>", "", body, flags=re.DOTALL)
    body = re.sub(r"<[^>]*>", _tag, body)
    body = re.sub(r"#0a0b[0-9a-f]{2}", lambda match: f"var(--{_NAMES[match[0]]})", body)
    body = re.sub(r"\s*\n\s*", "", body)
    body = re.sub(r"<g/>|<defs></defs>|<path [^>]*style=\"fill:none\"/>", "", body)
    while "<g></g>" in body:
        body = body.replace("<g></g>", "")
    width, height = size
    return (
        f'<svg class="drawing" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(alt)}">{body.strip()}</svg>'
    )


def _tag(match: re.Match[str]) -> str:
    """A tag without what the page does not need: group ids, clipping, fonts, turns by nothing, far decimals."""
    tag = match[0].replace("\n", " ").replace("xlink:href", "href")
    tag = re.sub(r'(?<=<g) id="[^"]*"| clip-path="[^"]*"| transform="rotate\(-?0 [^"]*"', "", tag)
    tag = re.sub(r" ?font-family: [^;\"]*;", "", tag)
    tag = re.sub(r"-?\d+\.\d+", lambda number: _decimal(float(number[0])), tag)
    return re.sub(r"(?<=[:;]) | (?=[/\"])", "", tag)


def _decimal(value: float) -> str:
    """One digit after the point, and none where it is zero."""
    return f"{value:.1f}".removesuffix(".0") if abs(value) >= 0.05 else "0"


def spread(places: Sequence[float], gap: float, low: float = -math.inf, high: float = math.inf) -> list[float]:
    """Move heights as little as possible until neighbours are `gap` apart, in the same order, between the ends.

    Least squares: pool adjacent violators on the heights less their share of gaps, then clip.
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    pools: list[tuple[float, int]] = []  # (sum, count) of heights that share one level
    for rank, place in enumerate(order):
        pools.append((places[place] - rank * gap, 1))
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            (last, count), (before, more) = pools.pop(), pools.pop()
            pools.append((before + last, more + count))
    levels = [total / count for total, count in pools for _ in range(count)]
    top = max(low, high - (len(places) - 1) * gap)
    moved = list(places)
    for rank, place in enumerate(order):
        moved[place] = min(max(levels[rank], low), top) + rank * gap
    return moved
