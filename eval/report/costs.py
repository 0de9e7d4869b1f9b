"""Sections about cost: every way to use the deck, accuracy against size and computation, beside published results."""

from __future__ import annotations

import math

from eval.numbers import BOUNDS, FIELDS, ROUTE_LABELS, percent, points, short, span_points
from eval.report.blocks import (
    Aside,
    Block,
    Cell,
    Column,
    Heading,
    Picture,
    Pictures,
    Row,
    Section,
    Table,
    Text,
    Whisker,
)
from eval.report.corruptions import accuracy, accuracy_columns, scale_of, severity_picture
from eval.report.files import Json, Suites
from eval.report.plots import ROUTE_STYLES, Point, cost_picture
from eval.report.published import comparable, how_counted, published_rows

SCALE, MACS = "%, mean of all cells", "multiply-adds per image"
OURS = ("gated", "uniform", "best_card")


def routes(suites: Suites) -> Section | None:
    """Every way of using the deck: accuracy with intervals, passes, and a picture of one against the other."""
    blocks: list[Block] = []
    for suite in suites.of("corruptions"):
        passes = () if suite.get("gates") else (_passes_picture(suite),)
        pictures = (severity_picture(suite), *passes)
        blocks += [Heading(suite["title"]), Pictures(pictures, "large"), _routes_table(suite)]
        if suite.get("regret"):
            blocks.append(_regret(suite))
    note = Text(
        "Accuracy in %, 95 % intervals below. The last two rows are bounds known only in hindsight, not systems."
    )
    return Section("routes", "Ways to use the deck", (note, *blocks), "Ways to use it") if blocks else None


def _passes_picture(suite: Json) -> Picture:
    points = [
        Point(ROUTE_LABELS[name], row["cards_per_image"], row["mean"]["value"], row["mean"], *ROUTE_STYLES[name][::2])
        for name, row in _shown(suite)
        if name not in BOUNDS
    ]
    drawn = cost_picture(
        f"passes-{suite['suite']}", points, axis="passes through a card, per image", scale="linear", size=(516, 270)
    )
    return Picture(drawn, "At its cost", "accuracy, %, mean of all cells")


def _shown(suite: Json) -> list[tuple[str, Json]]:
    """The measured routes, but the gates that the deck does not have."""
    names = [name for name in ROUTE_LABELS if name in suite["routes"] and not name.startswith("gate_")]
    return [(name, suite["routes"][name]) for name in names]


def _routes_table(suite: Json) -> Table:
    scale = scale_of([row["mean"] for _, row in _shown(suite)])
    timing = suite.get("timing") or {}
    times, batch = timing.get("batch_1_ms") or {}, timing.get("batch_32_ms") or {}
    more = [Column("Passes", "per image")] + ([Column("Time", "ms, one image")] if times else [])
    rows = []
    for name, row in _shown(suite):
        cost = [Cell(f"{row['cards_per_image']:.2f}", f"clean {row['cards_per_image_clean']:.2f}")]
        if times:
            together = f"of 32: {batch[name] / 32:.2f}" if name in batch else ""
            cost.append(Cell(f"{times[name]:.2f}", together) if name in times else Cell("–"))
        accuracies = [accuracy(row.get(field)) for field, _ in FIELDS]
        cells: tuple[Cell | Whisker, ...] = (*accuracies, *cost, Whisker(row["mean"], *scale))
        rows.append(Row(Cell(ROUTE_LABELS[name]), cells, "bound" if name in BOUNDS else name))
    return Table(accuracy_columns(scale, *more), tuple(rows), "ways")


def _regret(suite: Json) -> Text:
    parts = []
    for bound, what in (("cell_oracle", "the best card of each cell"), ("oracle", "any card that is right")):
        if found := suite["regret"].get(bound):
            parts.append(f"{what} {points(found['value'])} points ({span_points(found)})")
    return Text(f"What is left to win, against the gated deck: {', '.join(parts)}.")


def published(suites: Suites) -> Section | None:
    """Our rows among the published ones: pictures of accuracy against size and computation, and the table."""
    main = suites.main
    rows = comparable(main) if main else []
    if main is None or not rows:
        return None
    source = published_rows(main["suite"])[1]
    caution = (
        ""
        if main["source"] == "official"
        else " **Ours were measured on corruptions made here with the published parameters, not on the official "
        f"files**, on {main['n']:,} images per cell: read them beside the published ones with that in mind."
    )
    pictures = (
        Picture(cost_picture("size", _by_size(main, rows), axis="size, bytes"), "Accuracy against size", SCALE),
        Picture(cost_picture("macs", _by_macs(main, rows), axis=MACS), "Accuracy against computation", SCALE),
    )
    notes: tuple[Block, ...] = (
        Text(
            "Sizes: ours as stored; published rows as dense 32-bit weights, with a dotted line down to the kept "
            "weights alone where most are zero. Multiply-adds: ours as a sparse engine executes them, per image. "
            f"{how_counted()}"
        ),
        *_relative(main),
    )
    timed = _by_time(main, rows)
    if timed:
        notes = (Aside((Pictures((timed,), "large"),), notes),)
    shown = (Text(f"Accuracy in %. {source}{caution}"), Pictures(pictures, "large"), *notes, _table(main, rows))
    return Section("published", "Beside published results", shown, "Beside others")


def _by_time(main: Json, rows: list[Json]) -> Picture | None:
    """Accuracy against our time per image; of the published rows the best, the smallest and the last, as lines."""
    timing = main.get("timing") or {}
    times, batch = timing.get("batch_1_ms") or {}, timing.get("batch_32_ms") or {}
    points = []
    for name in filter(times.__contains__, OURS):
        row, (colour, _, marker) = main["routes"][name]["mean"], ROUTE_STYLES[name]
        reach = batch[name] / 32 if name in batch else None
        points.append(Point(ROUTE_LABELS[name].lower(), times[name], row["value"], row, colour, marker, reach=reach))
    if not points:
        return None
    smallest = min((row for row in rows if row.get("parameters")), key=lambda row: row["parameters"] * row["passes"])
    chosen = {f"{_short_name(row)} (official)": row["mean"] / 100 for row in (rows[0], smallest, rows[-1])}
    drawn = cost_picture(
        "time", points, axis="ms per image; dotted: down to batches of 32", size=(516, 320), levels=chosen
    )
    return Picture(drawn, "Accuracy against time", "published rows without their time")


def _relative(main: Json) -> tuple[Text, ...]:
    found = main.get("relative") or {}
    parts = [
        f"{ROUTE_LABELS[name].lower()} {row['relative_mce']:.2f}"
        for name in OURS
        if (row := found.get(name)) and row.get("relative_mce") is not None
    ]
    text = f"Errors relative to RobustBench's Standard (1 is as bad; mean over corruptions): {'; '.join(parts)}."
    return (Text(text),) if parts else ()


def _by_size(main: Json, rows: list[Json]) -> list[Point]:
    found = []
    size = main.get("deck_size_bytes")
    if size:
        label = f"{main['deck']}{_tag(main)}"
        found.append(
            Point(label, size, main["routes"]["gated"]["mean"]["value"], main["routes"]["gated"]["mean"], "accent")
        )
    card = next((card for card in main["cards"] if card["id"] == main["best_card"]["id"]), None)
    if card and card.get("bytes") and not card.get("averaged"):
        found.append(Point("best single card", card["bytes"], card["mean"]["value"], card["mean"], "third", "D"))
    return found + _others(rows, lambda row: 4 * row["parameters"] * row["passes"] if row.get("parameters") else None)


def _by_macs(main: Json, rows: list[Json]) -> list[Point]:
    found = []
    for name in OURS:
        cost = executed(main, name)
        if cost:
            row, (colour, _, marker) = main["routes"][name]["mean"], ROUTE_STYLES[name]
            label = f"{ROUTE_LABELS[name].lower()}{_tag(main)}" if name == "gated" else ROUTE_LABELS[name].lower()
            found.append(Point(label, cost, row["value"], row, colour, marker))
    return found + _others(rows, lambda row: row["macs"] * row["passes"] if row.get("macs") else None)


def executed(result: Json, route: str) -> float | None:
    """Multiply-adds that a route executes per image: passes times the mean over cards, unless it was counted."""
    row = result["routes"][route]
    if row.get("macs_executed"):
        return float(row["macs_executed"])
    costs = [card.get("macs_executed") or card.get("macs") for card in result["cards"]]
    if route == "best_card":
        costs = [c for c, card in zip(costs, result["cards"], strict=True) if card["id"] == result["best_card"]["id"]]
    known = [float(cost) for cost in costs if cost]
    return float(row["cards_per_image"]) * math.fsum(known) / len(known) if known else None


def _others(rows: list[Json], cost: object) -> list[Point]:
    found = []
    for row in rows:
        value = cost(row)  # type: ignore[operator]
        if value:
            reach = value * row["kept"] if row.get("kept", 1) < 1 else None
            found.append(Point(_short_name(row), value, row["mean"] / 100, None, "muted", "o", ours=False, reach=reach))
    return found


def _short_name(row: Json) -> str:
    name = str(row["name"]).split(" (")[0].split(",")[0]
    same = {"AugMix": f"AugMix {row['architecture'].split()[0]}"}
    return same.get(name, name)


def _tag(main: Json) -> str:
    return "" if main["source"] == "official" else " (regenerated)"


def _table(main: Json, rows: list[Json]) -> Table:
    ours = [_our_row(main, name) for name in OURS]
    shown = sorted([*((row["mean"], _their_row(row)) for row in rows), *ours], key=lambda pair: -pair[0])
    columns = ("Clean", "Mean", "Severity 5", "Passes", "Bytes", "Multiply-adds")
    return Table(tuple(map(Column, columns)), tuple(row for _, row in shown), "narrow beside")


def _our_row(main: Json, name: str) -> tuple[float, Row]:
    row = main["routes"][name]
    size = main.get("deck_size_bytes")
    detail = f"{len(main['cards'])} cards"
    if name == "best_card":
        card: Json = next((card for card in main["cards"] if card["id"] == main["best_card"]["id"]), {})
        # An average is stored as a kilobyte beside the cards it is made of: alone it has no size.
        size, detail = None if card.get("averaged") else card.get("bytes"), main["best_card"]["name"]
    cost = executed(main, name)
    cells = [Cell(percent(row[field]["value"])) for field in ("clean", "mean", "severity5")]
    cells += [
        Cell(f"{row['cards_per_image']:.3g}"),
        Cell(short(size) if size else "–"),
        Cell(short(cost) if cost else "–"),
    ]
    tag = "" if main["source"] == "official" else "regenerated"
    return 100 * row["mean"]["value"], Row(Cell(f"{main['deck']}, {_how(name)}", detail, tag=tag), tuple(cells), "ours")


def _how(name: str) -> str:
    return {"gated": "gated", "uniform": "plain average"}.get(name, ROUTE_LABELS[name].lower())


def _their_row(row: Json) -> Row:
    size = 4 * row["parameters"] * row["passes"] if row.get("parameters") else None
    macs = row["macs"] * row["passes"] if row.get("macs") else None
    cells = [Cell(f"{row[field]:.1f}") for field in ("clean", "mean", "severity5")]
    cells += [Cell(f"{row['passes']:.3g}"), Cell(short(size) if size else "–"), Cell(short(macs) if macs else "–")]
    return Row(Cell(row["name"], row["architecture"], tag="official"), tuple(cells))
