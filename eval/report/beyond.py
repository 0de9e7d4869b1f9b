"""Sections beyond corruptions: shifted data, other classes, sequences, attacks and streams."""

from __future__ import annotations

from eval.numbers import ROUTE_LABELS, percent, points, span, span_points, verdict, words
from eval.report.blocks import Block, Cell, Column, Heading, Picture, Pictures, Row, Section, Table, Text
from eval.report.files import Json, Suites
from eval.report.plots import attack_curves
from eval.report.published import adaptation_rows


def shift(suites: Suites) -> Section | None:
    """Accuracy on data gathered anew, and how far above the line of published models it is."""
    blocks: list[Block] = []
    for suite in suites.of("shift"):
        rows = []
        for name, row in suite["routes"].items():
            found = (row or {}).get("accuracy") or (row or {}).get("clean")
            if name in ROUTE_LABELS and found:
                rows.append(Row(Cell(ROUTE_LABELS[name]), (Cell(percent(found["value"]), span(found)),), name))
        blocks.append(Heading(f"{suite['title']}, {suite['n']:,} images"))
        if rows:
            blocks.append(Table((Column("Accuracy"),), tuple(rows), "narrow short"))
        blocks += _line_of_models(suite)
    return Section("shift", "Other test sets", tuple(blocks)) if blocks else None


def _line_of_models(suite: Json) -> list[Block]:
    found = suite.get("effective_robustness") or {}
    gated = found.get("gated", found)
    if not isinstance(gated, dict) or "value" not in gated:
        return []
    sure = "low" in gated
    kind = {"better": "above", "worse": "below"}.get(verdict(gated), "not told apart from") if sure else ""
    text = f"Effective robustness of the gated deck: **{points(gated['value'])} points**"
    text += (
        f" ({span_points(gated)}), {kind} the line of published models"
        if sure
        else " from the line of published models"
    )
    return [Text(f"{text}: its accuracy here minus what models of its accuracy on the original test set reach.")]


def ood(suites: Suites) -> Section | None:
    """Telling apart images of other classes: AUROC, with FPR95 below."""
    blocks: list[Block] = []
    for suite in suites.of("ood"):
        sets = suite["sets"]
        if suite.get("convention"):
            blocks.append(Text(f"AUROC in %, FPR95 below. {suite['convention']}"))
        blocks.append(_scores(suite["scores"], sets, "auroc", "fpr95", "FPR95 "))
        blocks += [
            Heading("Area under the precision-recall curve"),
            _scores(suite["scores"], sets, "aupr_in", "aupr_out", "out "),
        ]
        if suite.get("fsood"):
            blocks += [
                Heading("Full spectrum: corrupted images of known classes count as known"),
                _scores(suite["fsood"], sets, "auroc", "fpr95", "FPR95 "),
            ]
    return Section("ood", "Images of other classes", tuple(blocks), "Other classes") if blocks else None


def _scores(scores: Json, sets: list[Json], large: str, small: str, prefix: str) -> Table:
    groups = [
        name
        for name in ("near", "far")
        if large == "auroc" and any(_number(row.get(name), large) for row in scores.values())
    ]
    best = {
        name: max((_number(row.get(name), large) or 0.0) for row in scores.values())
        for name in (*groups, *(one["name"] for one in sets))
    }
    columns = [Column(f"{name.capitalize()}, mean") for name in groups]
    columns += [Column(words(one["name"]), f"{one['group']}, {one['n']:,}") for one in sets]

    def cell(row: Json, name: str) -> Cell:
        found = row.get(name)
        value = _number(found, large)
        if value is None:
            return Cell("–")
        detail = f"{prefix}{percent(found[small])}" if isinstance(found, dict) and found.get(small) is not None else ""
        return Cell(percent(value), detail, "top" if value == best[name] else "")

    rows = tuple(Row(Cell(words(score)), tuple(cell(row, name) for name in best)) for score, row in scores.items())
    return Table(tuple(columns), rows, "narrow tight")


def _number(found: object, key: str) -> float | None:
    if isinstance(found, dict):
        found = found.get(key)
    return float(found) if isinstance(found, int | float) else None


def sequences(suites: Suites) -> Section | None:
    """How often the answer and the gate's choice change from frame to frame."""
    blocks: list[Block] = []
    shown = ("gated", "uniform", "best_card")
    for suite in suites.of("sequences"):
        rows = [_flips(words(name), row, shown) for name, row in suite["perturbations"].items()]
        if suite.get("mean"):
            rows.append(_flips("mean", suite["mean"], shown, "total"))
        columns = (*(Column(ROUTE_LABELS[name]) for name in shown), Column("Gate's choice"))
        blocks += [Heading(f"{suite['title']}, {suite['n']:,} sequences"), Table(columns, tuple(rows), "narrow")]
    note = Text(
        "Share in % of steps from frame to frame (for noise: from the first frame) on which the answer changes."
    )
    return Section("sequences", "Steadiness in sequences", (note, *blocks), "Sequences") if blocks else None


def _flips(name: str, row: Json, shown: tuple[str, ...], kind: str = "") -> Row:
    flips = row.get("flip_probability") or {}
    found = [flips.get(route) for route in shown] + [row.get("choice_flip")]
    cells = (Cell(percent(i["value"], 2), span(i, 2)) if i else Cell("–") for i in found)
    frames = f"{row['frames']} frames" if row.get("frames") else ""
    return Row(Cell(name, frames), tuple(cells), kind)


def adversarial(suites: Suites) -> Section | None:
    """Accuracy under attacks through the gate, and what may be concluded from it."""
    blocks: list[Block] = []
    for suite in suites.of("adversarial"):
        if suite.get("claim"):
            blocks.append(Text(suite["claim"], "claim"))
        curves = _curves(suite)
        if curves:
            drawn = attack_curves(f"attacks-{suite['suite']}", curves)
            blocks.append(Pictures((Picture(drawn, suite["title"], "accuracy, %"),), "large"))
        blocks.append(_attacks(suite))
    return Section("adversarial", "Under attack", tuple(blocks)) if blocks else None


def _curves(suite: Json) -> dict[str, tuple[str, str, list[tuple[float, Json]]]]:
    found: dict[str, tuple[str, str, list[tuple[float, Json]]]] = {}
    for row in suite["attacks"]:
        key = f"{row['attack']} {row['target']}"
        label = f"{_attack(row)}, {_target(row)}"
        curve = found.setdefault(key, (label, row["target"], []))[2]
        if not curve and row.get("clean"):
            curve.append((0.0, row["clean"]))
        curve.append((255 * row["eps"], row["accuracy"]))
    return {
        key: (label, route, sorted(rows, key=lambda item: item[0]))
        for key, (label, route, rows) in found.items()
        if len(rows) > 1
    }


def _attack(row: Json) -> str:
    return {"pgd": "PGD", "square": "Square"}.get(row["attack"], words(row["attack"]))


def _target(row: Json) -> str:
    return ROUTE_LABELS.get(row["target"], words(row["target"])).lower()


def _attacks(suite: Json) -> Table:
    rows = tuple(
        Row(
            Cell(f"{_attack(row)} of {255 * row['eps']:.3g}/255", f"{_target(row)}, {row['steps']:,} steps"),
            (
                Cell(percent(row["accuracy"]["value"]), span(row["accuracy"])),
                Cell(percent(row["clean"]["value"]) if row.get("clean") else "–"),
                Cell(f"{percent(row['choice_changed'])} %" if row.get("choice_changed") is not None else "–"),
                Cell(f"{row['n']:,}"),
            ),
        )
        for row in suite["attacks"]
    )
    heads = ("Accuracy", "Without attack", "Gate's choice changed", "Images")
    return Table(tuple(map(Column, heads)), rows, "narrow")


def streams(suites: Suites) -> Section | None:
    """Errors in each order of a stream, one image at a time, beside published test-time adaptation."""
    blocks: list[Block] = []
    for suite in suites.of("stream"):
        blocks += [Heading(f"{suite['title']}, gated deck"), _orders(suite)]
        if suite["data"]["name"] == "cifar10":
            published, source = adaptation_rows()
            blocks += [Heading("Beside published test-time adaptation"), Text(source), _beside(suite, published)]
    note = Text(
        "A deck keeps no state, so that no order of images, however correlated, changes an answer; adaptation methods "
        "learn from the stream, and lose where it is mixed or correlated."
    )
    return Section("stream", "In a stream, image by image", (note, *blocks), "Streams") if blocks else None


def _orders(suite: Json) -> Table:
    timing = suite.get("timing") or {}
    rows = []
    for row in suite["orders"]:
        same = {True: "the same", False: "NOT the same"}.get(row.get("same_answers_as_batch"), "–")
        time = (timing.get("p50_ms") or {}).get(row["order"], row.get("p50_ms"))
        cells = (
            Cell(percent(row["error"]["value"]), span(row["error"])),
            Cell(same),
            Cell(f"{time:.2f}" if time else "–"),
        )
        rows.append(Row(Cell(words(row["order"]), f"{row['n']:,} images"), cells))
    heads = (Column("Error, %"), Column("Answers as in a batch"), Column("Median time, ms"))
    return Table(heads, tuple(rows), "narrow")


def _beside(suite: Json, published: list[Json]) -> Table:
    orders = ("continual", "mixed", "correlated")
    ours = {row["order"]: row["error"] for row in suite["orders"]}
    if not set(orders) & set(ours):
        return Table((), (), "")
    mine = tuple(
        Cell(percent(ours[order]["value"]), span(ours[order])) if order in ours else Cell("–") for order in orders
    )
    tag = "" if suite["source"] == "official" else suite["source"]
    rows = [
        (
            ours.get("mixed", next(iter(ours.values())))["value"] * 100,
            Row(Cell(f"{suite['deck']}, gated", tag=tag), mine, "ours"),
        )
    ]
    for row in published:
        cells = tuple(Cell("–" if row[order] is None else f"{row[order]:.1f}") for order in orders)
        rows.append((row["mixed"], Row(Cell(row["name"], tag="official"), cells)))
    ordered = tuple(row for _, row in sorted(rows, key=lambda pair: pair[0]))
    return Table(tuple(Column(f"{order.capitalize()}, error %") for order in orders), ordered, "narrow")
