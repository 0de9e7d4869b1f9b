"""The section that compares gates: the deck's own, one of every kind at equal cost, and what needs none."""

from __future__ import annotations

from eval.numbers import BOUNDS, ROUTE_LABELS, percent
from eval.report.blocks import Block, Cell, Column, Heading, Picture, Pictures, Row, Section, Table, Text
from eval.report.corruptions import accuracy, difference
from eval.report.files import Json, Suites
from eval.report.gate_plot import passes_picture
from eval.report.plots import ROUTE_STYLES, Point

FIELDS = ("clean", "mean", "severity5")
HEADS = (
    Column("Clean"),
    Column("Mean of all cells"),
    Column("Severity 5"),
    Column("Passes", "on clean images"),
    Column("Clean", "− plain average"),
    Column("Mean", "− plain average"),
    Column("Validation", "clean, corrupted"),
)


def compared(suites: Suites) -> Section | None:
    """Every kind of gate on the same answers: a table and one picture of accuracy against passes, per suite."""
    blocks: list[Block] = []
    for suite in suites.of("corruptions"):
        if suite.get("gates"):
            blocks += [Heading(suite["title"]), _table(suite), Pictures((_picture(suite),), "large"), *_skipped(suite)]
    return Section("gates", "Gates compared", (Text(_note(suites)), *blocks)) if blocks else None


def _note(suites: Suites) -> str:
    found = next(suite["gates"] for suite in suites.of("corruptions") if suite.get("gates"))
    own = (suites.deck.get("gate") or {}).get("kind", "?")
    return (
        f"Accuracy in %, 95 % intervals below. The deck's own gate is of the kind “{own}”. The others were fitted on "
        f"validation images, for at most {found['most_cards']:g} passes per image on average there. Validation: mean "
        "accuracy of clean and of corrupted images that the gate was not fitted on; the best by it is marked. "
        "Differences are paired, in points, and coloured only where their interval excludes zero."
    )


def _table(suite: Json) -> Table:
    gates, routes = suite["gates"], suite["routes"]
    rows = [
        _row(suite, "uniform", None, None, ""),
        _row(suite, "gated", suite["differences"].get("gated_minus_uniform"), None, ""),
    ]
    for kind, found in gates["kinds"].items():
        tag = "best on validation" if kind == gates["chosen"] else ""
        if found["route"] in routes:
            rows.append(_row(suite, found["route"], found["minus_uniform"], found["validation"], tag))
    return Table(HEADS, tuple(rows), "narrow tight")


def _row(suite: Json, route: str, gain: Json | None, validation: Json | None, tag: str) -> Row:
    row = suite["routes"][route]
    cells = [accuracy(row.get(field)) for field in FIELDS]
    cells.append(Cell(f"{row['cards_per_image']:.2f}", f"clean {row['cards_per_image_clean']:.2f}"))
    cells += [difference(gain.get(field)) if gain else Cell("–") for field in ("clean", "mean")]
    seen = f"{percent(validation['clean'])}, {percent(validation['corrupted'])}" if validation else ""
    cells.append(Cell(percent(validation["score"]), seen) if validation else Cell("–"))
    return Row(Cell(ROUTE_LABELS.get(route, route), tag=tag), tuple(cells), "gated" if route == "gated" else "")


def _picture(suite: Json) -> Picture:
    routes = suite["routes"]
    points = [
        Point(
            ROUTE_LABELS[name],
            routes[name]["cards_per_image"],
            routes[name]["mean"]["value"],
            None,
            *ROUTE_STYLES[name][::2],
            ours=name in ("gated", "uniform", "best_card") or name.startswith("gate_"),
        )
        for name in ROUTE_LABELS
        if name in routes and name not in BOUNDS
    ]
    lines = {
        ROUTE_LABELS[name]: (routes[name]["mean"]["value"], *ROUTE_STYLES[name][:2])
        for name in ("uniform", "best_card", *BOUNDS)
        if name in routes
    }
    drawn = passes_picture(f"gates-{suite['suite']}", points, lines)
    return Picture(drawn, "Every way at its cost", "accuracy, %, mean of all cells")


def _skipped(suite: Json) -> list[Text]:
    left = "; ".join(f"{kind}: {why}" for kind, why in (suite["gates"].get("skipped") or {}).items())
    return [Text(f"Left out: {left}.")] if left else []
