"""The section about compressed versions of the deck: accuracy, bytes and time of each, on the same images."""

from __future__ import annotations

from eval.numbers import FIELDS, short
from eval.report.blocks import Block, Cell, Column, Heading, Picture, Pictures, Row, Section, Table, Text
from eval.report.corruptions import accuracy, difference
from eval.report.files import Json, Suites
from eval.report.plots import CYCLE, Point, cost_picture

SHOWN = FIELDS[:3]
HEADS = tuple(Column(label) for _, label in SHOWN)


def compressed(suites: Suites) -> Section | None:
    """Every version through its own gate, what compressing changed, and every card alone."""
    blocks: list[Block] = []
    for suite in suites.of("compressed"):
        blocks += [Text(_note(suite)), *_picture(suite), _decks(suite)]
        blocks += [Heading("Paired differences"), Text(_paired(suite)), _differences(suite)]
        blocks += [Heading("Every card alone"), _cards(suite)]
    return Section("compressed", "Compressed", tuple(blocks)) if blocks else None


def _note(suite: Json) -> str:
    text = (
        f"{suite['title']}: clean accuracy on {suite['n_clean']:,} images, each cell on the same {suite['n']:,}, each "
        "version through its own gate. Deck: bytes of its folder. Card: its file in the deck, and with its masks where "
        "the deck stores them once for several cards."
    )
    if len({row["gate"]["kind"] for row in suite["versions"]}) > 1:
        gates = ", ".join(f"{row['label']} {row['gate']['kind']}" for row in suite["versions"])
        text += f" The gates are not alike ({gates}), so that gated decks differ by more than bits: see the cards."
    timing = suite.get("timing")
    if timing:
        text += f" Time: {timing['card']} alone, one thread, versions in turn, in the engine named."
    return text


def _paired(suite: Json) -> str:
    first = suite["versions"][0]["label"]
    return f"Points of accuracy above {first} on the same images; coloured only where the 95 % interval excludes zero."


def _picture(suite: Json) -> list[Block]:
    """Accuracy against bytes of the gated decks; nothing where a deck has no folder."""
    points = [
        Point(row["label"], row["bytes"], row["gated"]["mean"]["value"], row["gated"]["mean"], _colour(place))
        for place, row in enumerate(suite["versions"])
        if row.get("bytes")
    ]
    if not points:
        return []
    drawn = cost_picture("compressed-size", points, axis="size of the deck, bytes", size=(516, 300))
    return [Pictures((Picture(drawn, "Gated decks", "accuracy, %, mean of all cells"),), "large")]


def _colour(place: int) -> str:
    return "accent" if place == 0 else CYCLE[(place - 1) % len(CYCLE)]


def _decks(suite: Json) -> Table:
    times = (suite.get("timing") or {}).get("versions") or {}
    best = suite["best_card"]["name"]
    more = [Column("Deck", "bytes"), Column("Card", f"bytes, {best}"), Column("Bits"), Column("Engine")]
    more += [Column("Card, ms", "one image"), Column("Gated, ms", "one image")] if times else []
    rows = []
    for row in suite["versions"]:
        card = next(card for card in row["cards"] if card["name"] == best)
        cells = [accuracy(row["gated"].get(field)) for field, _ in SHOWN]
        cells += [_size(row.get("bytes")), _file(card), Cell(", ".join(map(str, row["bits"]))), Cell(card["engine"])]
        if times:
            cells += [_time(times.get(row["label"], {}).get(what)) for what in ("card", "gated")]
        rows.append(Row(Cell(row["label"], "" if row["deck"] in row["label"] else row["deck"]), tuple(cells)))
    return Table((*HEADS, *more), tuple(rows), "narrow tight")


def _size(count: int | None) -> Cell:
    return Cell(short(count) if count else "–")


def _file(card: Json) -> Cell:
    stored, alone = int(card["bytes"]), int(card["bytes_alone"])
    return Cell(short(stored), f"with masks {short(alone)}" if alone > stored else "")


def _time(taken: Json | None) -> Cell:
    return Cell(f"{taken['1']:.2f}", f"of 32: {taken['32']:.2f}") if taken else Cell("–")


def _differences(suite: Json) -> Table:
    first, *others = suite["versions"]
    rows = []
    for row in others:
        named = [("gated", row["gated"]), *((card["name"], card) for card in row["cards"])]
        rows += [
            Row(
                Cell(f"{row['label']} − {first['label']}", name),
                tuple(difference(found["difference"].get(field)) for field, _ in SHOWN),
            )
            for name, found in named
        ]
    return Table(HEADS, tuple(rows), "narrow tight even")


def _cards(suite: Json) -> Table:
    rows = [
        Row(
            Cell(card["name"], row["label"]),
            (*(accuracy(card.get(field)) for field, _ in SHOWN), _file(card), Cell(card["engine"])),
        )
        for cards in zip(*(row["cards"] for row in suite["versions"]), strict=True)
        for row, card in zip(suite["versions"], cards, strict=True)
    ]
    return Table((*HEADS, Column("Bytes"), Column("Engine")), tuple(rows), "narrow tight")
