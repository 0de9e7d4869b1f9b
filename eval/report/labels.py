"""Where the labels of dots in a picture stand: beside them, and over as little else as possible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from eval.report.canvas import COLOURS

Dot = tuple[float, float, str, str, bool]  # x, y, text, colour, bold
Place = tuple[int, int, str, str]

# (horizontal, vertical) shift in pixels from the dot, and how the text is anchored there
PLACES: tuple[Place, ...] = (
    (9, 0, "left", "center"),
    (-9, 0, "right", "center"),
    (0, 9, "center", "bottom"),
    (0, -9, "center", "top"),
    (7, 8, "left", "bottom"),
    (7, -8, "left", "top"),
    (-7, 8, "right", "bottom"),
    (-7, -8, "right", "top"),
    (9, 17, "left", "bottom"),
    (9, -17, "left", "top"),
    (-9, 17, "right", "bottom"),
    (-9, -17, "right", "top"),
)


def place_labels(
    axes: Axes,
    dots: Sequence[Dot],
    lines: Sequence[tuple[float, float, float, float]] = (),
    size: float = 11.5,
) -> None:
    """Write a label beside every dot (x, y, text, colour, bold), the first ones first, where it covers least.

    `lines` (x0, y0, x1, y1), level or upright, are drawn already and better not covered either.
    """
    renderer = FigureCanvasAgg(axes.figure.get_figure(root=True)).get_renderer()  # type: ignore[no-untyped-call]
    frame = axes.get_window_extent(renderer)
    at = [axes.transData.transform((x, y)) for x, y, *_ in dots]
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in at]
    ends = [axes.transData.transform([line[:2], line[2:]]) for line in lines]
    taken += [Bbox([low - 4, high + 4]) for low, high in ends]
    for place, dot in enumerate(dots):
        best: tuple[float, Bbox, Place] | None = None
        for rank, tried in enumerate(PLACES):
            label = _write(axes, dot, tried, size)
            box = label.get_window_extent(renderer)
            label.remove()
            others = [other for index, other in enumerate(taken) if index != place]
            cost = sum(_overlap(box, other) for other in others) + 4 * _outside(box, frame) + 3 * rank
            if best is None or cost < best[0]:
                best = cost, box, tried
        assert best is not None
        taken.append(best[1])
        _write(axes, dot, best[2], size)


def _write(axes: Axes, dot: Dot, place: Place, size: float) -> Annotation:
    """The label of `dot` at one of `PLACES`."""
    x, y, text, colour, bold = dot
    right, up, across, along = place
    look: Any = {"ha": across, "va": along, "size": size, "weight": "bold" if bold else "normal"}
    return axes.annotate(text, (x, y), (right, up), textcoords="offset pixels", color=COLOURS[colour], **look)


def _overlap(a: Bbox, b: Bbox) -> float:
    wide = min(a.x1, b.x1) - max(a.x0, b.x0)
    high = min(a.y1, b.y1) - max(a.y0, b.y0)
    return float(wide * high) if wide > 0 and high > 0 else 0.0


def _outside(box: Bbox, frame: Bbox) -> float:
    """How much of the box lies beyond the right, left, lower or upper end of the axes, in square pixels."""
    wide = max(0.0, frame.x0 - box.x0) + max(0.0, box.x1 - frame.x1)
    high = max(0.0, frame.y0 - box.y0) + max(0.0, box.y1 - frame.y1)
    return float(wide * box.height + high * box.width)
