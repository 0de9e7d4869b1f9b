"""Sections about what a served deck meets: attacks through the gate, and streams image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval.numbers import ROUTE_LABELS, percent, words
from eval.report.beyond import share
from eval.report.blocks import Block, Cell, Column, Heading, Picture, Pictures, Row, Section, Table, Text
from eval.report.files import Json, Suites
from eval.report.plots import attack_curves
from eval.report.published import adaptation_rows

DASH = Cell("–")
ORDERS = ("continual", "mixed", "correlated")
Found = dict[tuple[str, str], dict[float, Json]]  # (attack, target) -> radius -> row


def adversarial(suites: Suites) -> Section | None:
    """Accuracy under attacks through the gate, and what may be concluded from it."""
    blocks: list[Block] = []
    for suite in suites.of("adversarial"):
        if suite.get("claim"):
            blocks.append(Text(suite["claim"], "claim"))
        curves = _curves(suite)
        if curves:
            drawn = attack_curves(f"attacks-{suite['suite']}", curves)
            together = "all attacks together" if any(row["attack"] == "all" for row in suite["attacks"]) else ""
            blocks.append(Pictures((Picture(drawn, "Accuracy under attack", together),), "large"))
        blocks += _attacks(suite)
    return Section("adversarial", "Under attack", tuple(blocks)) if blocks else None


def _curves(suite: Json) -> dict[str, tuple[str, str, list[tuple[float, Json]]]]:
    """A curve per route of all attacks together, or of each attack where they were not put together."""
    together = [row for row in suite["attacks"] if row["attack"] == "all"]
    found: dict[str, tuple[str, str, list[tuple[float, Json]]]] = {}
    for row in sorted(together or suite["attacks"], key=_radius):
        label = _target(row) if together else f"{_attack(row)}, {_target(row)}"
        _, _, curve = found.setdefault(label, (label, row["target"], []))
        if not curve and _clean(row):
            curve.append((0.0, _clean(row)))
        curve.append((_radius(row), row["accuracy"]))
    return {key: curve for key, curve in found.items() if len(curve[2]) > 1}


def _clean(row: Json) -> Json:
    found: Json = row.get("clean_accuracy") or row.get("clean") or {}
    return found


def _radius(row: Json) -> float:
    return float(str(row["radius"]).partition("/")[0]) if row.get("radius") else round(255 * float(row["eps"]), 3)


def _attack(row: Json) -> str:
    return {"pgd": "PGD", "square": "Square", "all": "All attacks"}.get(row["attack"], words(row["attack"]))


def _target(row: Json) -> str:
    own = {"gate": "the gate's choice", "cost": "the number of cards"}
    return own.get(row["target"], ROUTE_LABELS.get(row["target"], words(row["target"])).lower())


def _attacks(suite: Json) -> list[Block]:
    """Accuracies of every attack (rows) at every radius (columns), then how often the gate's choice changed."""
    radii = sorted({_radius(row) for row in suite["attacks"]})
    found: Found = {}
    for row in suite["attacks"]:
        found.setdefault((row["attack"], row["target"]), {})[_radius(row)] = row
    names = {key: _attack_name(next(iter(rows.values()))) for key, rows in found.items()}
    heads = tuple(Column(f"{radius:g}/255") for radius in radii)
    accuracies = [
        Row(
            names[key],
            (
                share(_clean(next(iter(rows.values())))),
                *(share(rows[r]["accuracy"]) if r in rows else DASH for r in radii),
            ),
            "total" if key[0] == "all" else "",
        )
        for key, rows in found.items()
    ]
    changed = [
        Row(names[key], tuple(_changed(rows.get(radius)) for radius in radii))
        for key, rows in found.items()
        if any(row.get("choice_changed") is not None for row in rows.values()) and key[1] in ("gated", "gate", "cost")
    ]
    blocks: list[Block] = [Table((Column("No attack"), *heads), tuple(accuracies), "narrow")]
    if changed:
        blocks += [
            Heading("Share of images that other cards answered than without the attack, %"),
            Table(heads, tuple(changed), "narrow"),
        ]
    text = f"Accuracy in % on {suite['n']:,} images, by the largest change of a pixel."
    return [Text(text), *blocks, *_cost(suite, found, names, radii)]


def _cost(suite: Json, found: Found, names: Mapping[tuple[str, str], Cell], radii: Sequence[float]) -> list[Block]:
    """Cards per image under each attack on the gated deck, and what bounds them."""
    cost = suite.get("cost")
    if not cost:
        return []
    rows = [
        Row(names[key], (Cell(f"{cost['cards_per_image_clean']:.2f}"), *(_cards(by.get(radius)) for radius in radii)))
        for key, by in found.items()
        if key[1] in ("gated", "gate", "cost") and key[0] != "all"
    ]
    most = max((row["most_cards"] for row in suite["attacks"] if row.get("most_cards")), default=0)
    text = f"No attack made an image run more than {most} cards; the gate's limit is {cost['limit']} for any image."
    heads = (Column("No attack"), *(Column(f"{radius:g}/255") for radius in radii))
    return [Heading("Cards per image"), Text(text), Table(heads, tuple(rows), "narrow")]


def _cards(row: Json | None) -> Cell:
    return Cell(f"{row['cards_per_image']:.2f}") if row else DASH


def _attack_name(row: Json) -> Cell:
    budget = [f"{row[unit]:,} {unit}" for unit in ("steps", "queries") if row.get(unit)]
    return Cell(f"{_attack(row)} on {_target(row)}", ", ".join(budget))


def _changed(row: Json | None) -> Cell:
    found = None if row is None else row.get("routing_changed", row.get("choice_changed"))
    return DASH if found is None else Cell(percent(found))


def streams(suites: Suites) -> Section | None:
    """Errors in each order of a stream, one image at a time, beside published test-time adaptation."""
    blocks: list[Block] = []
    for suite in suites.of("stream"):
        blocks += [Heading(f"{suite['title']}, gated deck"), _orders(suite)]
        if suite.get("same_answers_in_every_order") is not None:
            same = "the same" if suite["same_answers_in_every_order"] else "NOT the same"
            blocks.append(Text(f"The answers to the same images are {same}, bit for bit, in every order."))
        if suite["data"]["name"] == "cifar10":
            published, source = adaptation_rows()
            blocks += [Heading("Beside published test-time adaptation"), Text(source), _beside(suite, published)]
    note = Text(
        "A deck keeps no state, so the order of images, however correlated, should change no answer; adaptation "
        "methods learn from the stream, and lose where it is mixed or correlated."
    )
    return Section("stream", "In a stream, image by image", (note, *blocks), "Streams") if blocks else None


def _orders(suite: Json) -> Table:
    timing = suite.get("timing") or {}
    rows = []
    for row in suite["orders"]:
        same = {True: "the same", False: "NOT the same"}.get(row.get("same_answers_as_batch"), "–")
        times = [(timing.get(name) or {}).get(row["order"]) for name in ("p50_ms", "p99_ms")]
        cells = [share(row["error"]), Cell(same), *(Cell(f"{time:.2f}" if time else "–") for time in times)]
        rows.append(Row(Cell(words(row["order"]), f"{row['n']:,} images"), tuple(cells)))
    heads = (
        Column("Error, %"),
        Column("Answers as in a batch"),
        Column("Median time, ms"),
        Column("99th percentile, ms"),
    )
    return Table(heads, tuple(rows), "narrow")


def _beside(suite: Json, published: list[Json]) -> Table:
    """Our rows among the published ones, the smallest error in the mixed order first."""
    streamed = {row["order"]: row["error"] for row in suite["orders"]}
    tag = "" if suite["source"] == "official" else suite["source"]
    rows = [_our_stream(f"{suite['deck']}, gated, in this stream", "", streamed, tag)]
    if suite.get("same_answers_in_every_order"):
        for name in ("gated", "uniform", "best_card"):
            if found := (suite.get("errors") or {}).get(name):
                label = f"{suite['deck']}, {ROUTE_LABELS[name].lower().removeprefix('deck, ')}"
                rows.append(
                    _our_stream(label, f"all {suite['n']:,} images of each cell", dict.fromkeys(ORDERS, found), tag)
                )
    for row in published:
        cells = tuple(Cell("–" if row[order] is None else f"{row[order]:.1f}") for order in ORDERS)
        rows.append((row["mixed"], Row(Cell(row["name"], tag="official"), cells)))
    ordered = tuple(row for _, row in sorted(rows, key=lambda pair: pair[0]))
    return Table(tuple(Column(f"{order.capitalize()}, error %") for order in ORDERS), ordered, "narrow beside")


def _our_stream(label: str, detail: str, errors: Json, tag: str) -> tuple[float, Row]:
    cells = tuple(share(errors.get(order)) for order in ORDERS)
    rank = errors.get("mixed") or next(iter(errors.values()), {"value": 1.0})
    return 100 * rank["value"], Row(Cell(label, detail, tag=tag), cells, "ours")
