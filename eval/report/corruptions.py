"""Sections about every corruption at every severity, for each corruption suite of the deck."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from eval.numbers import AGAINST, FIELDS, ROUTE_LABELS, percent, points, short, span, span_points, verdict, words
from eval.report.blocks import (
    Block,
    Cell,
    Cells,
    Column,
    Heading,
    Map,
    Maps,
    Picture,
    Row,
    Section,
    Table,
    Text,
    Whisker,
)
from eval.report.files import Json, Suites
from eval.report.plots import severity_lines

STARTS = frozenset({"defocus_blur", "snow", "brightness"})  # noise | blur | weather | digital
SIGNIFICANT = 0.05


def maps(suites: Suites) -> Section | None:
    """Accuracy of the gated deck in every cell, and what it gains over one card and over the plain average."""
    blocks: list[Block] = []
    for suite in suites.of("corruptions"):
        if suite.get("significance"):
            blocks.append(_explanation(suite))
        elif suite is not suites.main:
            blocks.append(Heading(suite["title"]))
        blocks.append(Maps(_maps(suite)))
    return Section("cells", "Every corruption, every severity", tuple(blocks), "Every cell") if blocks else None


def _explanation(suite: Json) -> Text:
    count = len(suite["cells"]["routes"]["gated"])
    return Text(
        f"{suite['title']}, {suite['n']:,} images per cell. Underlined are the cells where an exact McNemar test "
        f"on the same images shows a difference (5 %, Holm over the {count} corruptions of a severity); the "
        "others are pale."
    )


def _maps(suite: Json) -> tuple[Map, ...]:
    cells = suite["cells"]["routes"]
    shown = [Map("Gated deck", "accuracy, %", cells["gated"], "accuracy", starts=STARTS)]
    for other in ("best_card", "uniform"):
        tested = (suite.get("significance") or {}).get(f"gated_vs_{other}")
        shown.append(
            Map(
                f"… minus {AGAINST[other]}",
                "points",
                minus(cells["gated"], cells[other]),
                "difference",
                marks=_marks(tested) if tested else None,
                starts=STARTS,
            )
        )
    return tuple(shown)


def minus(a: Cells, b: Cells) -> Cells:
    """The difference in every cell that both have."""
    return {name: [x - y for x, y in zip(a[name], b[name], strict=True)] for name in a if name in b}


def _marks(tested: Mapping[str, Sequence[Json]]) -> dict[str, list[str]]:
    def mark(cell: Json) -> str:
        if cell["holm"] >= SIGNIFICANT or cell["gained"] == cell["lost"]:
            return ""
        return "better" if cell["gained"] > cell["lost"] else "worse"

    return {name: [mark(cell) for cell in row] for name, row in tested.items()}


def severity_picture(suite: Json) -> Picture:
    """Accuracy from clean to severity 5."""
    series = {
        name: (ROUTE_LABELS[name], [suite["routes"][name]["clean"]["value"], *_by_severity(suite, name)])
        for name in ("gated", "uniform", "best_card")
    }
    return Picture(severity_lines(f"severities-{suite['suite']}", series), "As corruption grows", "accuracy, %")


def _by_severity(suite: Json, route: str) -> list[float]:
    rows = list(suite["cells"]["routes"][route].values())
    return [math.fsum(row[i] for row in rows) / len(rows) for i in range(len(rows[0]))]


def differences(suites: Suites) -> Section | None:
    """Paired differences with their intervals."""
    blocks: list[Block] = []
    for suite in suites.of("corruptions"):
        rows = tuple(
            Row(Cell(f"Gated − {label}"), tuple(difference(row.get(field)) for field, _ in FIELDS))
            for name, label in AGAINST.items()
            if (row := suite["differences"].get(f"gated_minus_{name}"))
        )
        if rows:
            blocks += [
                Heading(suite["title"]),
                Table(tuple(Column(label) for _, label in FIELDS), rows, "narrow tight even"),
            ]
    note = Text("Points of accuracy on the same images; coloured only where the 95 % interval excludes zero.")
    return Section("differences", "Paired differences", (note, *blocks), "Differences") if blocks else None


def difference(interval: Json | None) -> Cell:
    """A difference in points with its interval, coloured only where that excludes zero."""
    if interval is None:
        return Cell("–")
    return Cell(points(interval["value"]), span_points(interval), verdict(interval).split()[0])


def cards(suites: Suites) -> Section | None:
    """Every card alone, on the main suite."""
    main = suites.main
    if main is None:
        return None
    best = main["best_card"]
    scale = scale_of([card["mean"] for card in main["cards"]])
    rows = tuple(
        Row(
            Cell(card["name"], _made(card), tag="best on validation" if card["id"] == best["id"] else ""),
            (*(accuracy(card.get(field)) for field, _ in FIELDS), Whisker(card["mean"], *scale)),
        )
        for card in main["cards"]
    )
    note = Text(f"{main['title']}. Best single card: **{best['name']}**, chosen on {best['chosen_on']}.")
    return Section("cards", "Every card alone", (note, Table(accuracy_columns(scale), rows)), "Cards")


def _made(card: Json) -> str:
    parts = [words(card["augmentation"]), f"{percent(card['density'])} % of {short(card['weights'])} weights"]
    if card.get("flop_density"):
        parts.append(f"{percent(card['flop_density'])} % of multiply-adds")
    parts.append(f"{card['bits']} bit")
    if card.get("bytes"):
        parts.append(f"{card['bytes'] / 1e3:,.0f} kB")
    return " · ".join(parts)


def accuracy(interval: Json | None) -> Cell:
    """An accuracy with its interval."""
    return Cell(percent(interval["value"]), span(interval)) if interval else Cell("–")


def scale_of(shown: Sequence[Json]) -> tuple[float, float]:
    """The ends of the scale on which intervals are drawn."""
    return min(i["low"] for i in shown), max(i["high"] for i in shown)


def accuracy_columns(scale: tuple[float, float], *more: Column) -> tuple[Column, ...]:
    """The five headline fields, then `more`, then the drawn mean."""
    drawn = Column("Mean", f"{percent(scale[0])} – {percent(scale[1])}", plot=True)
    return (*(Column(label) for _, label in FIELDS), *more, drawn)
