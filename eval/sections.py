"""The sections of the HTML report, each a pure function of the report's JSON."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from eval import figures
from eval.numbers import (
    DIFFERENCE_LABELS,
    FIELDS,
    ROUTE_LABELS,
    Interval,
    percent,
    points,
    span,
    span_points,
    verdict,
    words,
)

Json = dict[str, Any]
GROUP_STARTS = {"defocus_blur", "snow", "brightness"}  # a rule above these: noise | blur | weather | digital
BOUNDS = ("cell_oracle", "oracle")


def header(result: Json) -> str:
    """Name of the deck, name of the suite, sizes and date."""
    facts = [
        escape(result["title"]),
        f"{result['n_clean']:,} clean images",
        f"{result['n']:,} images per cell",
        result["provenance"]["date"][:10],
    ]
    return (
        f'<header><p class="kind">Robustness report</p><h1>{escape(result["deck"])} '
        f"<small>version {escape(result['deck_version'])}</small></h1>"
        f'<p class="facts">{" · ".join(facts)}</p></header>'
    )


def headline(result: Json) -> str:
    """One sentence and five numbers."""
    gated = result["routes"]["gated"]
    tiles = "".join(
        f'<div class="tile{" lead" if field in ("clean", "mean") else ""}"><span>{label}</span>'
        f"<b>{percent(gated[field]['value'])}<i>%</i></b><small>{span(gated[field])}</small></div>"
        for field, label in FIELDS
    )
    sentence = (
        f"The gated deck answers <b>{percent(gated['clean']['value'])} %</b> of clean test images right and "
        f"<b>{percent(gated['mean']['value'])} %</b> of corrupted ones, running <b>{gated['cards_per_image']:.2f}</b> "
        f"of its {len(result['cards'])} cards per image."
    )
    verdicts = "".join(_verdict(result, name) for name in DIFFERENCE_LABELS if name in result["differences"])
    lead = f'<p class="lead">{sentence}</p><div class="tiles">{tiles}</div>'
    return f'<section class="top">{lead}<ul>{verdicts}</ul></section>'


def _verdict(result: Json, name: str) -> str:
    difference = result["differences"][name]["mean"]
    found = verdict(difference)
    against = {
        "gated_minus_best_card": f"the best single card ({escape(result['best_card']['name'])})",
        "gated_minus_uniform": "the plain average of all cards",
        "gated_minus_hindsight_card": f"the best card in hindsight ({escape(result['hindsight_card']['name'])})",
    }[name]
    return (
        f'<li class="{found.split()[0]}"><b>{points(difference["value"])} points</b> against {against}: {found} '
        f"<small>({span_points(difference)})</small></li>"
    )


def routes(result: Json) -> str:
    """Every way of using the deck, with intervals and a common scale for the mean."""
    return (
        '<section><h2>Ways to use the deck</h2><p class="note">Accuracy in %, 95 % intervals below. The last two rows '
        "are bounds known only in hindsight, not systems.</p>"
        + _table(
            result,
            [
                (ROUTE_LABELS[name], "", result["routes"][name], "bound" if name in BOUNDS else name)
                for name in ROUTE_LABELS
            ],
            costs=True,
        )
        + "</section>"
    )


def cards(result: Json) -> str:
    """Every card alone."""
    rows = [
        (
            card["name"],
            f"{words(card['augmentation'])} · {percent(card['density'])} % of {card['weights']:,} weights kept · "
            f"{card['bits']} bit",
            card,
            "",
        )
        for card in result["cards"]
    ]
    return (
        "<section><h2>Every card alone</h2>"
        f'<p class="note">Best single card, chosen on {escape(result["best_card"]["chosen_on"])}: '
        f"<b>{escape(result['best_card']['name'])}</b>.</p>{_table(result, rows, costs=False)}</section>"
    )


def _table(result: Json, rows: Sequence[tuple[str, str, Json, str]], *, costs: bool) -> str:
    shown = [row["mean"] for _, _, row, _ in rows]
    low, high = min(i["low"] for i in shown), max(i["high"] for i in shown)
    head = "".join(f'<th scope="col">{label}</th>' for _, label in FIELDS)
    cost_head = '<th scope="col">Cards per image</th>' if costs else ""
    body = "".join(
        f'<tr class="{css}"><th scope="row">{escape(name)}<small>{escape(detail)}</small></th>'
        + "".join(_value(row[field]) for field, _ in FIELDS)
        + (
            f"<td>{row['cards_per_image']:.2f}<small>clean {row['cards_per_image_clean']:.2f}</small></td>"
            if costs
            else ""
        )
        + f'<td class="plot">{figures.whisker(row["mean"], low, high)}</td></tr>'
        for name, detail, row, css in rows
    )
    scale = f'<th scope="col" class="plot">Mean<small>{percent(low)} – {percent(high)}</small></th>'
    return (
        f'<div class="scroll"><table class="rows"><thead><tr><th></th>{head}{cost_head}{scale}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _value(interval: Interval) -> str:
    return f"<td>{percent(interval['value'])}<small>{span(interval)}</small></td>"


def differences(result: Json) -> str:
    """Paired differences with their intervals."""
    head = "".join(f'<th scope="col">{label}</th>' for _, label in FIELDS)
    body = "".join(
        f'<tr><th scope="row">{label}</th>'
        + "".join(
            f'<td class="{verdict(row[field]).split()[0]}">{points(row[field]["value"])}'
            f"<small>{span_points(row[field])}</small></td>"
            for field, _ in FIELDS
        )
        + "</tr>"
        for name, label in DIFFERENCE_LABELS.items()
        if (row := result["differences"].get(name))
    )
    return (
        '<section><h2>Paired differences</h2><p class="note">Points of accuracy on the same images; coloured only '
        'where the 95 % interval excludes zero.</p><div class="scroll"><table class="rows"><thead><tr><th></th>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def maps(result: Json) -> str:
    """Accuracy of the gated deck in every cell, and what it gains over one card and over the plain average."""
    cells = result["cells"]["routes"]
    gated = cells["gated"]
    shown = [
        figures.accuracy_map("Gated deck", "accuracy, %", gated, GROUP_STARTS),
        figures.difference_map("… minus best single card", "points", _minus(gated, cells["best_card"]), GROUP_STARTS),
        figures.difference_map("… minus plain average", "points", _minus(gated, cells["uniform"]), GROUP_STARTS),
    ]
    grids = f'<div class="maps">{"".join(shown)}</div>'
    return f'<section class="wide"><h2>Every corruption, every severity</h2>{grids}</section>'


def _minus(a: figures.Cells, b: figures.Cells) -> figures.Cells:
    return {name: [x - y for x, y in zip(a[name], b[name], strict=True)] for name in a}


def severities(result: Json) -> str:
    """Accuracy from clean to severity 5."""
    cells = result["cells"]["routes"]
    series = {}
    for name in ("gated", "uniform", "best_card"):
        rows = list(cells[name].values())
        by_severity = [sum(row[i] for row in rows) / len(rows) for i in range(len(rows[0]))]
        series[name] = (ROUTE_LABELS[name], [result["routes"][name]["clean"]["value"], *by_severity])
    return (
        '<section><h2>As corruption grows</h2><p class="note">Accuracy in %, mean of all corruptions.</p>'
        f"{figures.severity_lines(series)}</section>"
    )


def gate(result: Json) -> str:
    """Where the gate sent the images, how many cards it ran, and which inputs it did not know."""
    found = result["gate"]
    clean = ", ".join(f"{words(name)} {100 * row['clean']['share']:.0f} %" for name, row in found["choices"].items())
    shown = [
        figures.share_map(f"Nearest: {words(name)}", "% of images", row["share"], GROUP_STARTS)
        for name, row in found["choices"].items()
        if found["kind"] != "uniform"
    ]
    top = float(len(result["cards"]))
    shown.append(figures.count_map("Cards run", "per image", found["cards_per_image"]["cells"], top, GROUP_STARTS))
    shown.append(figures.share_map("Unknown spectrum", "% of images", found["unknown"]["cells"], GROUP_STARTS))
    return (
        f'<section class="wide"><h2>What the gate chose</h2><p class="note">Gate: {escape(found["kind"])}, at most '
        f"{found['max_cards']} cards per image. Clean images: {escape(clean)}; "
        f"{found['cards_per_image']['clean']:.2f} cards per image; {percent(found['unknown']['clean'])} % unknown.</p>"
        f'<div class="maps small">{"".join(shown)}</div></section>'
    )
