"""The Markdown form of a report, for reading in a terminal or on a code host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.numbers import (
    DIFFERENCE_LABELS,
    FIELDS,
    ROUTE_LABELS,
    percent,
    points,
    span,
    span_points,
    verdict,
    words,
)
from eval.sources import FROST

Json = dict[str, Any]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def render_markdown(result: Json) -> str:
    """The whole report."""
    gated = result["cells"]["routes"]["gated"]
    best = result["cells"]["routes"]["best_card"]
    gains = {name: [a - b for a, b in zip(row, best[name], strict=True)] for name, row in gated.items()}
    parts = [
        f"# {result['deck']} {result['deck_version']} on {result['title']}",
        f"{result['n_clean']:,} clean test images, {result['n']:,} images per cell. Accuracy in % [95 % interval].",
        _routes(result),
        f"Best single card: {result['best_card']['name']}, chosen on {result['best_card']['chosen_on']}. The last two "
        "rows are bounds known only in hindsight.",
        "## Paired differences",
        _differences(result),
        "## Every card alone",
        _cards(result),
        "## Gated deck, accuracy by severity",
        _cells(gated, percent),
        "## Gated deck minus best single card, points",
        _cells(gains, points),
        "## What the gate chose",
        _gate(result),
        "## How the numbers were made",
        _how(result),
    ]
    return "\n\n".join(parts) + "\n"


def _value(interval: Mapping[str, float]) -> str:
    return f"{percent(interval['value'])} [{span(interval)}]"


def _routes(result: Json) -> str:
    rows = [
        [label, *(_value(row[field]) for field, _ in FIELDS), f"{row['cards_per_image']:.2f}"]
        for name, label in ROUTE_LABELS.items()
        if (row := result["routes"][name])
    ]
    return table(["", *(label for _, label in FIELDS), "Cards per image"], rows)


def _cards(result: Json) -> str:
    rows = [
        [f"{card['name']} ({words(card['augmentation'])}, {percent(card['density'])} % kept)"]
        + [_value(card[field]) for field, _ in FIELDS]
        for card in result["cards"]
    ]
    return table(["", *(label for _, label in FIELDS)], rows)


def _differences(result: Json) -> str:
    rows = [
        [
            label,
            *(f"{points(row[field]['value'])} ({span_points(row[field])})" for field, _ in FIELDS),
            verdict(row["mean"]),
        ]
        for name, label in DIFFERENCE_LABELS.items()
        if (row := result["differences"].get(name))
    ]
    return table(["", *(label for _, label in FIELDS), "On the mean"], rows)


def _cells(cells: Mapping[str, Sequence[float]], show: Any) -> str:
    severities = [str(i + 1) for i in range(len(next(iter(cells.values()))))]
    rows = [[words(name), *map(show, row), show(sum(row) / len(row))] for name, row in cells.items()]
    return table(["", *severities, "mean"], rows)


def _gate(result: Json) -> str:
    gate = result["gate"]
    names = list(gate["choices"])
    rows = [
        ["clean"]
        + [f"{100 * gate['choices'][name]['clean']['share']:.0f} %" for name in names]
        + [f"{gate['cards_per_image']['clean']:.2f}", f"{percent(gate['unknown']['clean'])} %"]
    ]
    for corruption, used in gate["cards_per_image"]["cells"].items():
        shares = [gate["choices"][name]["share"][corruption] for name in names]
        unknown = gate["unknown"]["cells"][corruption]
        rows.append(
            [words(corruption)]
            + [" ".join(f"{100 * share:.0f}" for share in row) + " %" for row in shares]
            + [f"{sum(used) / len(used):.2f}", f"{percent(sum(unknown) / len(unknown))} %"]
        )
    text = "Share of images nearest to each augmentation, at severities 1 to 5."
    return f"{text}\n\n" + table(["", *map(words, names), "Cards per image", "Unknown"], rows)


def _how(result: Json) -> str:
    made = result["provenance"]
    versions = ", ".join(f"{name} {value}" for name, value in made["versions"].items() if value)
    return "\n".join(
        [
            f"- Frost: {FROST.get(result['frost'], result['frost'])}.",
            f"- Intervals: percentile bootstrap over images, {result['bootstrap']['resamples']:,} resamples, all cells "
            "of an image together; differences are paired.",
            f"- Hardware: {made['hardware']['cpu']}, {made['hardware']['cores']} cores. {versions}.",
            f"- Commit {made['commit'] or 'unknown'}, {made['date']}, `{made['command'] or 'command not recorded'}`.",
            f"- Test data SHA-256 {result['data']['sha256']}.",
        ]
    )
