"""The picture of what `benchmarks.engines` measured: ms per image against density, on one thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import matplotlib.ticker
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

Json = dict[str, Any]
TITLES = {"rn20": "ResNet-20", "rn18": "ResNet-18", "rn18w128": "ResNet-18, width 128"}
SPARSE = "#c2410c"
# Engine -> (label, colour, dashes): a runtime has one colour, 8 bits and compiled are dashed.
LINES: Mapping[str, tuple[str, str, Literal["-", "--"]]] = {
    "sparse": ("sparse (ours)", SPARSE, "-"),
    "ort_fp32": ("ONNX Runtime float32", "#1d4ed8", "-"),
    "ort_int8": ("ONNX Runtime int8", "#1d4ed8", "--"),
    "openvino_fp32": ("OpenVINO float32", "#0f766e", "-"),
    "openvino_int8": ("OpenVINO int8", "#0f766e", "--"),
    "torch_eager": ("PyTorch eager", "#7c6f80", "-"),
    "torch_compiled": ("PyTorch compiled", "#7c6f80", "--"),
}
BATCHES = (1, 32)
WIDTH, HEIGHT, LEFT, LINE = 300, 250, 62, 20  # of a panel, of the axis' label, of the legend's lines; in points
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "engines",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9ca3af",
    "axes.labelcolor": "#374151",
    "axes.titlecolor": "#111827",
    "xtick.color": "#6b7280",
    "ytick.color": "#6b7280",
    "text.color": "#111827",
}


def write_plot(content: Json, path: Path) -> None:
    """Draw the rows on one thread, in the best instruction set, into an SVG file: a column per network."""
    level = content["provenance"]["simd"]
    rows = [row for row in content["rows"] if row["threads"] == 1 and row["simd"] == level]
    networks = [name for name in TITLES if any(row["network"] == name for row in rows)]
    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        shown = [name for name in LINES if any(row["engine"] == name for row in rows)]
        columns = 4 if len(networks) > 1 else 2
        top = 42 + LINE * -(-len(shown) // columns)
        width, height = LEFT + WIDTH * len(networks), top + HEIGHT * len(BATCHES) + 20
        figure = Figure(figsize=(width / 72, height / 72), facecolor="white")
        panels = figure.subplots(len(BATCHES), len(networks), squeeze=False, sharex=True)
        figure.subplots_adjust(LEFT / width, 52 / height, 1 - 14 / width, 1 - top / height, 0.2, 0.24)
        for line, batch in enumerate(BATCHES):
            for column, name in enumerate(networks):
                here = [
                    row for row in rows if row["network"] == name and row["batch"] == batch and row["engine"] in LINES
                ]
                _panel(panels[line][column], here)
                panels[line][column].set_title(f"{TITLES[name]}, batch {batch}", fontsize=12, loc="left")
            panels[line][0].set_ylabel("ms per image")
        for axes in panels[-1]:
            axes.set_xlabel("weights kept (one thread, logarithmic scale)")
        handles = [_handle(name) for name in shown]
        figure.legend(handles=handles, loc="upper center", ncols=columns, frameon=False, fontsize=11, handlelength=2.4)
        FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})  # type: ignore[no-untyped-call]


def _handle(engine: str) -> Line2D:
    label, colour, dashes = LINES[engine]
    marker = "o" if engine == "sparse" else ""
    return Line2D([], [], color=colour, linestyle=dashes, label=label, linewidth=_weight(engine), marker=marker)


def _weight(engine: str) -> float:
    return 2.6 if engine == "sparse" else 1.6


def _panel(axes: Axes, rows: Sequence[Json]) -> None:
    """The sparse engine's line with its quartiles, and a level line for every engine that computes with the zeros."""
    sparse = sorted((row for row in rows if row["engine"] == "sparse"), key=lambda row: -float(row["density"]))
    places = range(len(sparse))
    for row in rows:
        if row["density"] is None:
            _, colour, dashes = LINES[row["engine"]]
            axes.axhline(row["median"], color=colour, linestyle=dashes, linewidth=_weight(row["engine"]))
    low, median, high = ([row[key] for row in sparse] for key in ("low", "median", "high"))
    axes.fill_between(places, low, high, color=SPARSE, alpha=0.18, linewidth=0)
    axes.plot(places, median, color=SPARSE, linewidth=_weight("sparse"), marker="o", zorder=3)
    for place, value in zip(places, median, strict=True):
        axes.annotate(
            f"{value:.2g}" if value < 10 else f"{value:.0f}",
            (place, value),
            (18, 2) if place == 0 and len(sparse) > 2 else (0, -17),  # beside the steep part of the line
            textcoords="offset points",
            ha="center",
            fontsize=10,
            color=SPARSE,
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
        )
    axes.set_yscale("log")
    axes.set_ylim(min(row["median"] for row in rows) / 1.7, max(row["median"] for row in rows) * 1.3)
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.set_xticks(list(places), [f"{100 * row['density']:g} %" for row in sparse])
    axes.set_xlim(-0.3, len(sparse) - 0.7)
    axes.tick_params(length=0, labelbottom=True)
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
