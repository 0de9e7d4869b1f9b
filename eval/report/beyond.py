"""Sections beyond corruptions: shifted data, other classes, sequences, attacks and streams."""

from __future__ import annotations

from eval.numbers import AGAINST, BOUNDS, ROUTE_LABELS, percent, points, span, span_points, verdict, words
from eval.report.blocks import Block, Cell, Column, Facts, Heading, Row, Section, Table, Text
from eval.report.files import Json, Suites


def shift(suites: Suites) -> Section | None:
    """Accuracy on data gathered anew, how far above the line of published models it is, and what the gate chose."""
    blocks: list[Block] = []
    for suite in suites.of("shift"):
        blocks.append(Heading(f"{suite['title']}, {suite['n']:,} images"))
        shown = {name: suite["routes"].get(name) or {} for name in ROUTE_LABELS}
        if any(_accuracy(row) for row in shown.values()):
            rows = [_shift_row(suite, name, row) for name, row in shown.items() if _accuracy(row)]
            heads = ("Accuracy", "On the original set", "Effective robustness", "Gated − this", "Cards per image")
            blocks.append(Table(tuple(map(Column, heads)), tuple(rows), "narrow tight"))
        if suite.get("effective_robustness"):
            blocks.append(
                Text(
                    "Effective robustness: points of accuracy above what published models reach here with the same "
                    "accuracy on the original test set. The gated deck is "
                    f"{_beside_line(suite['effective_robustness'].get('gated'))} their line."
                )
            )
        blocks += _gate_on(suite)
    return Section("shift", "Other test sets", tuple(blocks)) if blocks else None


def _accuracy(row: Json) -> Json | None:
    found: Json | None = row.get("accuracy") or row.get("clean")
    return found


def _shift_row(suite: Json, name: str, row: Json) -> Row:
    gain = (suite.get("effective_robustness") or {}).get(name)
    difference = ((suite.get("differences") or {}).get(f"gated_minus_{name}") or {}).get("accuracy")
    cells = [share(_accuracy(row)), share(row.get("original"))]
    for found in (gain, difference):
        kind = verdict(found).split()[0] if found else ""
        cells.append(Cell(points(found["value"]), span_points(found), kind) if found else Cell("–"))
    cells.append(Cell(f"{row['cards_per_image']:.2f}") if row.get("cards_per_image") else Cell("–"))
    return Row(Cell(ROUTE_LABELS[name]), tuple(cells), "bound" if name in BOUNDS else name)


def share(interval: Json | None, digits: int = 1) -> Cell:
    """A share in % with its interval, or a dash."""
    return Cell(percent(interval["value"], digits), span(interval, digits)) if interval else Cell("–")


def _beside_line(gain: Json | None) -> str:
    return {"better": "above", "worse": "below"}.get(verdict(gain), "not told apart from") if gain else "beside"


def _gate_on(suite: Json) -> list[Block]:
    found = suite.get("gate_choices") or suite.get("gate") or {}
    choices = found.get("choices")
    if not choices:
        return []
    shares = ", ".join(f"{words(name)} {100 * row['share']:.0f} %" for name, row in choices.items())
    text = f"Nearest reference: {shares}; {percent(found['unknown'])} % of unknown spectrum"
    text += f"; the gate ran {found['cards_per_image']:.2f} cards per image."
    sure = (suite["routes"].get("gated") or {}).get("confidence")
    if sure:
        text += f" Its answers' confidence: mean {percent(sure['mean'])} %, median {percent(sure['p50'])} %."
    if suite.get("answers"):
        most = sorted(suite["answers"].items(), key=lambda item: -item[1])
        text += f" Answers: {', '.join(f'{words(name)} {count:,}' for name, count in most)}."
    return [Text(text)]


def ood(suites: Suites) -> Section | None:
    """Telling apart images of other classes: AUROC, with FPR95 below."""
    blocks: list[Block] = []
    for suite in suites.of("ood"):
        blocks.append(Text(f"AUROC in %, FPR95 below; the best of each column is bold. {suite.get('convention', '')}"))
        if suite.get("accuracy"):
            blocks.append(Text(f"{suite['n']:,} known images, of which the gated deck answers {_right(suite)} right."))
        blocks.append(_scores(suite, "scores", "auroc", "fpr95", "FPR95 "))
        if suite.get("fsood"):
            blocks += [
                Heading("Full spectrum: corrupted images of known classes count as known"),
                _scores(suite, "fsood", "auroc", "fpr95", "FPR95 "),
            ]
        blocks += [
            Heading("Area under the precision-recall curve: known images positive, below it the others"),
            _scores(suite, "scores", "aupr_in", "aupr_out", "out "),
        ]
        if suite.get("definitions"):
            titles = suite.get("titles") or {}
            blocks.append(Facts({titles.get(name, words(name)): text for name, text in suite["definitions"].items()}))
        if suite.get("skipped"):
            left = "; ".join(f"{row['name']}: {row['reason']}" for row in suite["skipped"])
            blocks.append(Text(f"Left out: {left}."))
    return Section("ood", "Images of other classes", tuple(blocks), "Other classes") if blocks else None


def _right(suite: Json) -> str:
    found = suite["accuracy"].get("gated")
    return f"{percent(found['value'])} %" if found else "some"


def _scores(suite: Json, table: str, large: str, small: str, prefix: str) -> Table:
    scores, sets = suite[table], suite["sets"]
    titles = suite.get("titles") or {}
    groups = [
        name
        for name in ("near", "far")
        if large == "auroc" and any(_number(row.get(name), large) is not None for row in scores.values())
    ]
    names = (*groups, *(one["name"] for one in sets))
    best = {name: max((_number(row.get(name), large) or 0.0) for row in scores.values()) for name in names}
    columns = [Column(f"{name.capitalize()}, mean") for name in groups]
    columns += [Column(words(one["name"]), f"{one['group']}, {one['n']:,}") for one in sets]

    def cell(row: Json, name: str) -> Cell:
        found = row.get(name)
        value = _number(found, large)
        if value is None:
            return Cell("–")
        other = found.get(small) if isinstance(found, dict) else row.get(f"{name}_{small}")
        return Cell(percent(value), f"{prefix}{percent(other)}" if other is not None else "", _top(value, best[name]))

    rows = tuple(
        Row(Cell(titles.get(score, words(score))), tuple(cell(row, name) for name in names))
        for score, row in scores.items()
    )
    return Table(tuple(columns), rows, "narrow tight")


def _top(value: float, best: float) -> str:
    return "top" if value == best else ""


def _number(found: object, key: str) -> float | None:
    if isinstance(found, dict):
        found = found.get(key)
    return float(found) if isinstance(found, int | float) else None


def sequences(suites: Suites) -> Section | None:
    """How often the answer and the gate's routing change from frame to frame."""
    blocks: list[Block] = []
    shown = ("gated", "uniform", "best_card")
    for suite in suites.of("sequences"):
        rows = [_flips(words(name), row, shown) for name, row in suite["perturbations"].items()]
        if suite.get("mean"):
            rows.append(_flips("mean", suite["mean"], shown, "total"))
        heads = (*(ROUTE_LABELS[name] for name in shown), "Cards that ran", "Nearest reference")
        blocks += [
            Heading(f"{suite['title']}, {suite['n']:,} sequences"),
            Table(tuple(map(Column, heads)), tuple(rows), "narrow"),
        ]
        blocks += [Text(text) for text in _steadier(suite)]
    note = Text(
        "Share in % of frames with another answer than the frame compared with; lower is steadier. Beside the answers: "
        "how often the gate ran other cards, and how often another reference was the nearest."
    )
    return Section("sequences", "Steadiness in sequences", (note, *blocks), "Sequences") if blocks else None


def _flips(name: str, row: Json, shown: tuple[str, ...], kind: str = "") -> Row:
    flips = row.get("flip_probability") or {}
    found = [flips.get(route) for route in shown] + [row.get("routing_flip"), row.get("choice_flip")]
    parts = [f"{row['frames']} frames"] if row.get("frames") else []
    parts += [f"from the {row['compared_with']}"] if row.get("compared_with") else []
    return Row(Cell(name, ", ".join(parts)), tuple(share(interval, 2) for interval in found), kind)


def _steadier(suite: Json) -> list[str]:
    """What the paired differences show; below zero the gated deck is steadier."""
    said = {"better": "is less steady than", "worse": "is steadier than"}
    texts = []
    for name, row in (suite.get("differences") or {}).items():
        other = AGAINST.get(name.removeprefix("gated_minus_"))
        found = row.get("flip_probability")
        if other and found:
            shown = said.get(verdict(found), "is not shown to differ from")
            ends = span_points(found, 2)
            texts.append(f"{shown} the {other} ({points(found['value'], 2)} points, {ends})")
    return [f"On the mean of all, the gated deck {', and '.join(texts)}."] if texts else []
