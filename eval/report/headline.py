"""The top of the page: what the deck is, and what one has to know about it."""

from __future__ import annotations

from html import escape

from eval.numbers import AGAINST, FIELDS, percent, points, short, span, span_points, verdict
from eval.report.blocks import Aside, Block, Cell, Column, Points, Row, Section, Table, Text, Tiles
from eval.report.files import Json, Suites

SHORT = {"ood": "Other classes", "adversarial": "Under attack", "stream": "In a stream", "compressed": "Compressed"}
PRINTED = ("uniform", "best_card", "hindsight_card")


def facts(suites: Suites) -> str:
    """The line below the deck's name."""
    deck, main = suites.deck, suites.main
    found = []
    if main:
        found.append(f"{len(main['cards'])} cards")
    if deck.get("deck_size_bytes"):
        found.append(f"{short(deck['deck_size_bytes'])}B")
    if deck.get("gate"):
        gate = deck["gate"]
        most = f", at most {gate['max_cards']} cards per image" if gate.get("max_cards") else ""
        found.append(f"{gate['kind']} gate{most}")
    found.append("measured " + max(str(suite["provenance"]["date"])[:10] for suite in suites.all))
    return " · ".join(found)


def header(suites: Suites) -> str:
    """Name of the deck, sizes and date, as HTML."""
    deck = suites.deck
    return (
        f'<header><p class="kind">Robustness report</p><h1>{escape(deck["deck"])} '
        f"<small>version {escape(deck['deck_version'])}</small></h1>"
        f'<p class="facts">{escape(facts(suites))}</p></header>'
    )


def headline(suites: Suites) -> Section | None:
    """A sentence, five numbers, what is better than what, and one line per further suite."""
    main = suites.main
    further = _further(suites)
    if main is None:
        return Section("headline", "", (further,), short="Headline") if further else None
    gated = main["routes"]["gated"]
    sentence = (
        f"Through its gate the deck answers **{percent(gated['clean']['value'])} %** of clean test images right and "
        f"**{percent(gated['mean']['value'])} %** of the corrupted ones of {main['title']}, running "
        f"**{gated['cards_per_image']:.2f}** of its {len(main['cards'])} cards per image."
    )
    tiles = Tiles(
        tuple(
            (label, percent(gated[field]["value"]), span(gated[field])) for field, label in FIELDS if gated.get(field)
        )
    )
    compared: list[Block] = []
    for suite in suites.of("corruptions"):
        names: tuple[str, ...] = PRINTED if suite is main else PRINTED[:2]
        if (suite.get("hindsight_card") or {}).get("id") == suite["best_card"]["id"]:
            names = tuple(name for name in names if name != "hindsight_card")
        names = tuple(name for name in names if f"gated_minus_{name}" in suite["differences"])
        pairs = [(name, "mean") for name in names]
        if suite is main and names[:1] == ("uniform",):
            pairs.insert(1, ("uniform", "clean"))
        found = tuple(_versus(suite, name, field) for name, field in pairs)
        compared += (
            [Text(f"The gated deck on {suite['title']}, mean of all cells", "label"), Points(found)] if found else []
        )
    rest: tuple[Block, ...] = (Text("Also measured", "label"), further) if further else ()
    return Section("headline", "", (Text(sentence, "lead"), tiles, Aside(tuple(compared), rest)), short="Headline")


def _versus(main: Json, name: str, field: str) -> Cell:
    difference = main["differences"][f"gated_minus_{name}"][field]
    found = verdict(difference)
    which = {"best_card": main["best_card"]["name"], "hindsight_card": main.get("hindsight_card", {}).get("name")}
    card = f" ({which[name]})" if which.get(name) else ""
    value, other = f"**{points(difference['value'])} points**", f"the {AGAINST[name]}{card}"
    other += " on clean images" if field == "clean" else ""
    shown = f"{value}: no difference shown from {other}" if found.startswith("no") else f"{value}, {found} than {other}"
    return Cell(shown, span_points(difference), found.split()[0])


def _further(suites: Suites) -> Table | None:
    rows = [row for suite in suites.all if suite is not suites.main for row in lines(suite)]
    return Table((Column("measured"),), tuple(rows), "glance") if rows else None


def lines(suite: Json) -> list[Row]:
    """What the headline says of a suite that is not the main one."""
    if suite["kind"] == "corruptions":
        found = suite["routes"]["gated"]["mean"]
        return [_line(suite, f"{percent(found['value'])} %", span(found), "mean of all cells")]
    if suite["kind"] == "shift":
        found = suite["routes"].get("gated") or {}
        found = found.get("accuracy", found.get("clean"))
        return [_line(suite, f"{percent(found['value'])} %", span(found), "accuracy")] if found else []
    if suite["kind"] == "sequences":
        found = (suite.get("mean") or {}).get("flip_probability", {}).get("gated")
        return (
            [_line(suite, f"{percent(found['value'])} %", span(found), "answers that flip per frame")] if found else []
        )
    if suite["kind"] == "ood":
        score, row = next(iter(suite["scores"].items()))
        score = (suite.get("titles") or {}).get(score, score)
        return [_line(suite, f"{_area(row.get('near'))} near, {_area(row.get('far'))} far", "", f"AUROC of {score}")]
    if suite["kind"] == "adversarial":
        rows = [row for row in suite["attacks"] if row["target"] == "gated"] or suite["attacks"]
        worst = min(rows, key=lambda row: row["accuracy"]["value"])
        size = worst.get("radius") or f"{255 * worst['eps']:.3g}/255"
        attack = "all attacks" if worst["attack"] == "all" else worst["attack"].upper()
        found = worst["accuracy"]
        return [_line(suite, f"{percent(found['value'])} %", span(found), f"accuracy, {attack} of {size}")]
    if suite["kind"] == "stream":
        worst = max(suite["orders"], key=lambda row: row["error"]["value"])
        found = worst["error"]
        return [_line(suite, f"{percent(found['value'])} %", span(found), f"error, {worst['order']} order")]
    if suite["kind"] == "compressed":
        return [_compressed(suite, version) for version in suite["versions"][1:]]
    return []


def _compressed(suite: Json, version: Json) -> Row:
    found, gain = version["gated"]["mean"], version["gated"]["difference"]["mean"]
    size = f", {short(version['bytes'])}B" if version.get("bytes") else ""
    change = f"{points(gain['value'])} points, {span_points(gain)}"
    return _line(suite, f"{percent(found['value'])} %", change, f"{version['label']}{size}, mean of all cells")


def _line(suite: Json, value: str, interval: str, what: str) -> Row:
    tag = "regenerated" if suite["source"] == "regenerated" else ""
    name = SHORT.get(suite["kind"], str(suite["title"]).partition(" (")[0])
    return Row(Cell(name, what, tag=tag), (Cell(value, interval),))


def _area(value: float | None) -> str:
    return "–" if value is None else percent(value)
