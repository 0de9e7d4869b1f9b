"""The section that compares gates: the deck's own, one of every kind at equal cost, and what needs none."""

from __future__ import annotations

from cards_deck.inference.gates import Promise
from eval.numbers import BOUNDS, ROUTE_LABELS, percent, points, words
from eval.report.against_average import against_average
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
            blocks += [Heading(suite["title"]), _table(suite), Pictures((_picture(suite),), "large")]
            blocks += [_worst(suite), *_skipped(suite)]
    return Section("gates", "Gates compared", (Text(_note(suites)), *blocks)) if blocks else None


def _note(suites: Suites) -> str:
    found = next(suite["gates"] for suite in suites.of("corruptions") if suite.get("gates"))
    own = (suites.deck.get("gate") or {}).get("kind", "?")
    marked = "the best by it is marked. "
    if "chosen_budget" in found:
        marked = (
            "marked is the cheapest within one standard error of the best, or a tenth of a point for every pass that "
            "it saves; whoever made the deck chose its own gate on more images, in the same way, or set its kind. The "
            "picture also has each kind fitted for fewer passes, joined by a line. "
        )
    return (
        f"Accuracy in %, 95 % intervals below. The deck's own gate is of the kind “{own}”. The others were fitted on "
        f"validation images, for at most {found['most_cards']:g} passes per image on average there. Validation: mean "
        f"accuracy of clean and of corrupted images that the gate was not fitted on; {marked}"
        "Differences are paired, in points, and coloured only where their interval excludes zero."
    )


def _table(suite: Json) -> Table:
    gates, routes = suite["gates"], suite["routes"]
    rows = [
        _row(suite, "uniform", None, None, ""),
        _row(suite, "gated", suite["differences"].get("gated_minus_uniform"), None, ""),
    ]
    for kind, found in gates["kinds"].items():
        tag = _tag(gates) if kind == gates["chosen"] else ""
        if found["route"] in routes:
            rows.append(_row(suite, found["route"], found["minus_uniform"], found["validation"], tag))
    return Table(HEADS, tuple(rows), "narrow tight")


def _tag(gates: Json) -> str:
    budget = gates.get("chosen_budget", gates["most_cards"])
    return "best on validation" + (f", at {budget:g} passes" if budget < gates["most_cards"] else "")


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
    drawn_points = [
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
    curves = {
        kind["route"]: [(one["cards_per_image"], one["mean"]) for one in kind.get("points", ())]
        for kind in suite["gates"]["kinds"].values()
    }
    coloured = [(ROUTE_STYLES[route][0], curve) for route, curve in curves.items() if route in ROUTE_STYLES]
    drawn = passes_picture(f"gates-{suite['suite']}", drawn_points, lines, coloured)
    return Picture(drawn, "Every way at its cost", "accuracy, %, mean of all cells")


def _worst(suite: Json) -> Text:
    """What the gate can cost: the cell where it is the farthest below the plain average, and how many are below."""
    found = against_average(suite)
    (corruption, severity), (loss, error) = min(found.items(), key=lambda one: one[1][0])
    below = sum(value + 1.96 * spread < 0 for value, spread in found.values())
    above = sum(value - 1.96 * spread > 0 for value, spread in found.values())
    return Text(
        f"The deck's own gate against the plain average, cell by cell: above it in {above}, below it in {below} of "
        f"{len(found)} (95 % intervals). At its worst, {words(corruption)} at severity {severity}, it is "
        f"{points(loss)} points [{points(loss - 1.96 * error)}, {points(loss + 1.96 * error)}] away: what relying on "
        f"the gate can cost.{_promised(suite['gates'].get('promised'))}"
    )


def _promised(made: Json | None) -> str:
    found = Promise.from_dict(made or {})
    if found is None:
        return ""
    more = "" if found.kept else "; no other gate lost less"
    return (
        f" Whoever made the deck allowed it {100 * found.most_loss:g} points in any cell of validation images, with "
        f"each corruption left out of the fit that was judged on it; at worst it lost "
        f"{100 * found.loss:.1f} there ({found.cell}){more}."
    )


def _skipped(suite: Json) -> list[Text]:
    left = "; ".join(f"{kind}: {why}" for kind, why in (suite["gates"].get("skipped") or {}).items())
    return [Text(f"Left out: {left}.")] if left else []
