"""The sections of a comparison of decks.

Differences of decks that were measured alike, with their answers to single images beside the JSON, are paired. Others
are not: nothing there is called better, only said to have intervals that overlap or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval.numbers import FIELDS, percent, points, short
from eval.pairs import paired_differences, read_pairs
from eval.report.blocks import (
    Block,
    Cell,
    Column,
    Facts,
    Heading,
    Map,
    Maps,
    Picture,
    Pictures,
    Row,
    Section,
    Table,
    Text,
    Whisker,
)
from eval.report.corruptions import STARTS, accuracy, accuracy_columns, difference, minus, scale_of
from eval.report.costs import executed
from eval.report.files import Json, Suites
from eval.report.headline import lines
from eval.report.plots import CYCLE, Point, cost_picture
from eval.report.trust import MEASURES

Decks = Mapping[str, Suites]


def shared(decks: Decks) -> list[str]:
    held = [[suite["suite"] for suite in one.all] for one in decks.values()]
    return [name for name in held[0] if all(name in names for names in held)]


def suite_of(suites: Suites, name: str) -> Json:
    return next(suite for suite in suites.all if suite["suite"] == name)


def sections(decks: Decks, differences: Sequence[str]) -> list[Section]:
    """The sections of the comparison."""
    warning = tuple(Text(f"**Not measured alike:** {text}.", "warning") for text in differences)
    first = Section("headline", "", (*warning, *_alone(decks), *_headline(decks, alike=not differences)), "Headline")
    parts = [first, _maps(decks), _cost(decks), _calibration(decks), _how(decks)]
    return [part for part in parts if part is not None]


def _corruption_suites(decks: Decks) -> list[tuple[str, dict[str, Json]]]:
    """The corruption suites that all decks have: title -> deck -> JSON."""
    found = [{name: suite_of(one, suite) for name, one in decks.items()} for suite in shared(decks)]
    kept = [made for made in found if next(iter(made.values()))["kind"] == "corruptions"]
    return [(str(next(iter(made.values()))["title"]), made) for made in kept]


def _alone(decks: Decks) -> tuple[Text, ...]:
    """What only some decks were measured on."""
    common = shared(decks)
    missing = [
        f"{name} also on {', '.join(rest)}"
        for name, one in decks.items()
        if (rest := [suite["suite"] for suite in one.all if suite["suite"] not in common])
    ]
    return (Text(f"Left out, as not all decks were measured on it: {'; '.join(missing)}."),) if missing else ()


def _headline(decks: Decks, *, alike: bool) -> list[Block]:
    blocks: list[Block] = []
    for title, made in _corruption_suites(decks):
        paired = _paired(decks, made) if alike else None
        gated = {name: result["routes"]["gated"] for name, result in made.items()}
        scale = scale_of([row["mean"] for row in gated.values()])
        rows = [
            Row(
                Cell(name),
                (
                    *(accuracy(row.get(field)) for field, _ in FIELDS),
                    Cell(f"{row['cards_per_image']:.2f}"),
                    Whisker(row["mean"], *scale),
                ),
            )
            for name, row in gated.items()
        ]
        columns = accuracy_columns(scale, Column("Passes", "per image"))
        base, *others = gated
        found = paired or {}
        rows += [_minus_row(name, base, gated[name], gated[base], found.get(name)) for name in others]
        blocks += [Heading(f"{title}, gated"), Table(columns, tuple(rows), "ways")]
    note = Text(
        "Accuracy in %, 95 % intervals below. Differences between decks are in points. Where they have an interval, "
        "they are paired, on the same images, and coloured only where it excludes zero; else they are not paired, and "
        "only where the decks' intervals lie apart is a difference plain."
    )
    return [note, *blocks, *_others(decks)] if blocks else _others(decks)


def _paired(decks: Decks, made: Mapping[str, Json]) -> dict[str, Json]:
    """Deck -> its paired differences to the first one, for the decks whose answers to single images are kept."""
    right = {
        name: read_pairs(folder, result, "gated")
        for name, result in made.items()
        if (folder := decks[name].folder) is not None
    }
    base, *others = made
    first = right.get(base)
    if first is None:
        return {}
    drawn = made[base].get("bootstrap") or {}
    settings = {"seed": int(drawn.get("seed", 0)), "resamples": int(drawn.get("resamples", 10_000))}
    return {
        name: paired_differences(found, first, **settings) for name in others if (found := right.get(name)) is not None
    }


def _minus_row(name: str, base: str, row: Json, other: Json, paired: Json | None) -> Row:
    cells = []
    for field, _ in FIELDS:
        a, b = row.get(field), other.get(field)
        if paired and field in paired:
            cells.append(difference(paired[field]))
            continue
        if not a or not b:
            cells.append(Cell("–"))
            continue
        apart = a["low"] > b["high"] or a["high"] < b["low"]
        cells.append(Cell(points(a["value"] - b["value"]), "apart" if apart else "overlap"))
    passes = Cell(f"{row['cards_per_image'] - other['cards_per_image']:+.2f}".replace("-", "−"))
    return Row(Cell(f"{name} − {base}"), (*cells, passes, Cell("")), "total")


def _others(decks: Decks) -> list[Block]:
    """Everything else that all decks were measured on, a line per suite."""
    rows = []
    for name in shared(decks):
        shown = [lines(suite_of(one, name)) for one in decks.values()]
        if suite_of(next(iter(decks.values())), name)["kind"] != "corruptions" and all(shown):
            rows.append(Row(shown[0][0].name, tuple(cell for line in shown for cell in line[0].cells)))
    heads = tuple(map(Column, decks))
    return [Heading("Beyond corruptions"), Table(heads, tuple(rows), "narrow")] if rows else []


def _maps(decks: Decks) -> Section | None:
    blocks: list[Block] = []
    for title, made in _corruption_suites(decks):
        base, *others = made
        cells = {name: result["cells"]["routes"]["gated"] for name, result in made.items()}
        shown = [Map(base, "accuracy, %", cells[base], "accuracy", starts=STARTS)]
        for name in others:
            gain = minus(cells[name], cells[base])
            if gain:
                shown.append(Map(f"{name} − {base}", "points", gain, "difference", starts=STARTS))
        blocks += [Heading(title), Maps(tuple(shown))]
    note = Text("Gated decks; only cells that both were measured on.")
    return Section("cells", "Every corruption, every severity", (note, *blocks), "Every cell") if blocks else None


def _cost(decks: Decks) -> Section | None:
    suites = _corruption_suites(decks)
    if not suites:
        return None
    title, made = suites[0]
    colours = dict(zip(made, (CYCLE[place % len(CYCLE)] for place in range(len(made))), strict=True))
    costs = {
        "size, bytes": {name: result.get("deck_size_bytes") for name, result in made.items()},
        "multiply-adds per image": {name: executed(result, "gated") for name, result in made.items()},
    }
    pictures = []
    for place, (axis, found) in enumerate(costs.items()):
        dots = [
            Point(name, cost, row["value"], row, colours[name])
            for name, cost in found.items()
            if cost and (row := made[name]["routes"]["gated"]["mean"])
        ]
        if dots:
            pictures.append(
                Picture(cost_picture(f"cost-{place}", dots, axis=axis, size=(516, 300)), axis, "accuracy, %")
            )
    rows = []
    for name, result in made.items():
        time = ((result.get("timing") or {}).get("batch_1_ms") or {}).get("gated")
        shown = [short(cost) if cost else "–" for cost in (found[name] for found in costs.values())]
        passes = result["routes"]["gated"]["cards_per_image"]
        shown += [f"{passes:.2f}", f"{time:.2f}" if time else "–", _epochs(result)]
        rows.append(Row(Cell(name, f"{len(result['cards'])} cards"), tuple(map(Cell, shown))))
    heads = tuple(map(Column, ("Bytes", "Multiply-adds", "Passes", "Time, ms, one image", "Epochs of training")))
    note = Text(
        f"{title}, mean of all cells. Times were measured on the machine of each run. Epochs: of all cards that are no "
        "averages of others, together, as their records say."
    )
    return Section("cost", "Cost", (note, Pictures(tuple(pictures), "large"), Table(heads, tuple(rows), "narrow")))


def _epochs(result: Json) -> str:
    counts = [card.get("epochs") for card in result["cards"] if not card.get("averaged")]
    return f"{sum(counts):g}" if counts and all(counts) else "–"


def _calibration(decks: Decks) -> Section | None:
    blocks: list[Block] = []
    for title, made in _corruption_suites(decks):
        rows = []
        for name, result in made.items():
            found = ((result.get("calibration") or {}).get("gated") or {}).get("tempered", {}).get("mean")
            sure = ((result.get("selective") or {}).get("gated") or {}).get("mean") or {}
            if found:
                cells = [
                    Cell(percent(found[key]) if key.endswith("ece") else f"{found[key]:.3f}") for key, _ in MEASURES
                ]
                cells += [Cell(percent(sure[key])) if key in sure else Cell("–") for key in ("aurc", "coverage_at_5")]
                rows.append(Row(Cell(name), tuple(cells)))
        heads = tuple(Column(label) for label in (*(label for _, label in MEASURES), "AURC, %", "Coverage at 5 %"))
        blocks += [Heading(title), Table(heads, tuple(rows), "narrow")] if rows else []
    note = Text("Gated decks after their temperature, all corrupted cells. Coverage: share answered at 5 % errors.")
    return Section("calibration", "Calibration", (note, *blocks)) if blocks else None


def _how(decks: Decks) -> Section:
    blocks: list[Block] = []
    for name, suites in decks.items():
        facts = {"Deck": f"{suites.deck['deck']} {suites.deck['deck_version']}"}
        if suites.deck.get("gate"):
            facts["Gate"] = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in suites.deck["gate"].items())
        for suite in suites.all:
            made = suite["provenance"]
            facts[suite["title"]] = (
                f"{suite['n']:,} images, {made['date'][:10]}, commit {made.get('commit') or 'unknown'}"
            )
        blocks += [Heading(name), Facts(facts)]
    return Section("how", "How the numbers were made", tuple(blocks), "How they were made")
