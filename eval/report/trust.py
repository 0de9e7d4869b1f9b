"""Sections about how far an answer can be trusted: calibration, answering only when sure, and what the cards share."""

from __future__ import annotations

from eval.numbers import ROUTE_LABELS, percent
from eval.report.blocks import Aside, Block, Cell, Column, Heading, Picture, Pictures, Row, Section, Table, Text
from eval.report.files import Json, Suites
from eval.report.plots import reliability, risk_coverage

Splits = tuple[tuple[str, str], ...]

SPLITS: Splits = (("clean", "clean images"), ("mean", "all corrupted cells"))
SHORT = {"clean": "clean", "mean": "corrupted"}
MEASURES = (("ece", "ECE"), ("adaptive_ece", "Adaptive ECE"), ("nll", "NLL"), ("brier", "Brier"))


def calibration(suites: Suites) -> Section | None:
    """Is a confidence of 80 % right 80 times in 100? Before and after one temperature."""
    blocks: list[Block] = []
    for suite in suites.of("corruptions"):
        found = suite.get("calibration")
        if not found:
            continue
        blocks.append(Heading(suite["title"]))
        if suite is suites.main:
            blocks.append(Pictures(_diagrams(found), "medium"))
        blocks.append(_calibration_table(found, SPLITS if suite is suites.main else SPLITS[1:]))
    note = Text(
        "Every route is scored on its pooled probabilities, and again after one temperature, which was fitted on clean "
        "and validation-corrupted training images only. ECE in %, 15 bins; NLL in nats; Brier sums over classes. In "
        "the diagrams, a dot is a bin of confidences and its area the share of images."
    )
    return Section("calibration", "Calibration", (note, *blocks)) if blocks else None


def _diagrams(found: Json) -> tuple[Picture, ...]:
    shown = []
    for route, split, what in (("gated", *SPLITS[0]), ("gated", *SPLITS[1]), ("best_card", *SPLITS[1])):
        row = found.get(route) or {}
        bins = {
            kind: (row.get(name) or {}).get(split)
            for kind, name in (("raw", "reliability_raw"), ("tempered", "reliability"))
        }
        drawn = {kind: rows for kind, rows in bins.items() if rows}
        if drawn:
            shown.append(Picture(reliability(f"reliability-{route}-{split}", drawn), ROUTE_LABELS[route], what))
    return tuple(shown)


def _calibration_table(found: Json, splits: Splits) -> Table:
    columns = [Column("Temperature")]
    columns += [Column(label, SHORT[split]) for split, _ in splits for _, label in MEASURES]
    rows = []
    for route in filter(found.__contains__, ROUTE_LABELS):
        row = found[route]
        cells = [Cell(f"{row['temperature']:.2f}" if row.get("temperature") else "–")]
        cells += [_measure(row, split, name) for split, _ in splits for name, _ in MEASURES]
        rows.append(Row(Cell(ROUTE_LABELS[route]), tuple(cells), route))
    return Table(tuple(columns), tuple(rows), "narrow tight")


def _measure(row: Json, split: str, name: str) -> Cell:
    raw, tempered = (row.get(kind, {}).get(split, {}).get(name) for kind in ("raw", "tempered"))
    if tempered is None:
        return Cell("–")
    shown = percent if name.endswith("ece") else "{:.3f}".format
    return Cell(shown(tempered), f"{shown(raw)} before" if raw is not None else "")


def selective(suites: Suites) -> Section | None:
    """What happens when the least confident images are handed on instead of answered."""
    blocks: list[Block] = []
    for suite in suites.of("corruptions"):
        found = suite.get("selective")
        if not found:
            continue
        blocks.append(Heading(suite["title"]))
        if suite is suites.main:
            drawn = [
                Picture(risk_coverage(f"coverage-{split}", _curves(found, split)), "Risk against coverage", what)
                for split, what in SPLITS
                if _curves(found, split)
            ]
            blocks.append(Pictures(tuple(drawn), "large"))
        blocks.append(_selective_table(found, SPLITS if suite is suites.main else SPLITS[1:]))
    note = Text(
        "Images are answered from the most confident on. AURC is the mean error over all coverages (lower is better); "
        "coverage at 1 % is the largest share that can be answered with at most 1 % errors among them."
    )
    return Section("selective", "Answering only when sure", (note, *blocks), "When sure") if blocks else None


def _curves(found: Json, split: str) -> dict[str, tuple[str, list[list[float]]]]:
    shown = ("gated", "uniform", "best_card", "confidence")
    return {
        route: (ROUTE_LABELS[route], found[route][split]["curve"])
        for route in shown
        if (found.get(route) or {}).get(split, {}).get("curve")
    }


def _selective_table(found: Json, splits: Splits) -> Table:
    columns = tuple(
        Column(label, SHORT[split])
        for split, _ in splits
        for label in ("AURC, %", "Coverage at 1 %", "Coverage at 5 %")
    )
    rows = []
    for route in filter(found.__contains__, ROUTE_LABELS):
        cells = [
            Cell(percent(value, 2 if name == "aurc" else 1))
            if (value := found[route].get(split, {}).get(name)) is not None
            else Cell("–")
            for split, _ in splits
            for name in ("aurc", "coverage_at_1", "coverage_at_5")
        ]
        rows.append(Row(Cell(ROUTE_LABELS[route]), tuple(cells), route))
    return Table(columns, tuple(rows), "narrow tight")


def diversity(suites: Suites) -> Section | None:
    """How often two cards answer differently, and how often they fail together."""
    main = suites.main
    found = (main or {}).get("diversity")
    if main is None or not found:
        return None
    names = [card["name"] for card in main["cards"]]
    halves: list[tuple[Block, ...]] = []
    for split, what in SPLITS:
        if split in found:
            row, blocks = found[split], list[Block]()
            blocks += [Heading(what.capitalize()), _matrix(names, row)]
            mean, oracle = row.get("mean_card_accuracy"), row.get("oracle_accuracy")
            if mean is not None and oracle is not None:
                blocks.append(
                    Text(f"A card is right on {percent(mean)} % on average; at least one is on {percent(oracle)} %.")
                )
            halves.append(tuple(blocks))
    note = Text(
        f"{main['title']}. Share of images in % on which two cards answer differently (above the diagonal) and "
        "on which both are wrong (below; on it, one card's own errors). A deck gains where cards disagree and do not "
        "fail together."
    )
    left, right = (*halves, (), ())[:2]
    return Section("diversity", "What the cards share", (note, Aside(left, right)), "Diversity")


def _matrix(names: list[str], row: Json) -> Table:
    rows = []
    for i, name in enumerate(names):
        cells = []
        for j in range(len(names)):
            kind = "disagreement" if j > i else "double_fault"
            cells.append(Cell(percent(row[kind][i][j]), kind="differ" if j > i else "self" if i == j else "both"))
        rows.append(Row(Cell(name), tuple(cells)))
    return Table(tuple(map(Column, names)), tuple(rows), "narrow matrix")
