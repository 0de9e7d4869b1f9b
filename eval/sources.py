"""The last sections of the HTML report: published results beside ours, and how the numbers were made."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from eval.numbers import percent

Json = dict[str, Any]

FROST = {
    "published": "the textures of the published benchmark",
    "procedural": "procedural textures, as the published ones are not installed",
    "official": "part of the official files",
}


def published_rows(suite: str) -> tuple[list[Json], str]:
    """Published rows for a suite (accuracies in percent), best mean first, and their source."""
    stored = json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))
    rows: list[Json] = sorted(stored["suites"].get(suite, []), key=lambda row: -row["mean"])
    return rows, f"{stored['source']}. {stored['note']}"


def our_rows(result: Json) -> list[Json]:
    """The gated and the averaged deck in the form of the published rows."""
    routes = result["routes"]
    densities = [card["density"] for card in result["cards"]]
    made = f"{len(densities)} cards, {percent(min(densities))} – {percent(max(densities))} % kept"
    return [
        {
            "name": f"{result['deck']}, {label}",
            "architecture": made,
            **{field: 100 * routes[route][field]["value"] for field in ("clean", "mean", "severity5")},
            "passes": routes[route]["cards_per_image"],
            "ours": True,
        }
        for route, label in (("gated", "gated"), ("uniform", "plain average"))
    ]


def published(result: Json) -> str:
    """Our rows among the published ones, sorted by the mean; nothing for data that is not the suite's own."""
    rows, source = published_rows(result["suite"])
    if not rows or result["data"]["name"] != result["suite"].removesuffix("-c"):
        return ""
    tag = "" if result["source"] == "official" else "<em>regenerated</em>"
    body = "".join(
        f'<tr class="{"ours" if row.get("ours") else ""}"><th scope="row">{escape(row["name"])}'
        f"{tag if row.get('ours') else ''}<small>{escape(row['architecture'])}</small></th>"
        f"<td>{row['clean']:.1f}</td><td>{row['mean']:.1f}</td><td>{row['severity5']:.1f}</td><td>{row['passes']:.3g}</td></tr>"
        for row in sorted([*rows, *our_rows(result)], key=lambda row: -row["mean"])
    )
    caution = (
        ""
        if result["source"] == "official"
        else " Ours were measured on corruptions made here with the published parameters, not on the official files, "
        f"and on {result['n']:,} images per cell: read them beside the published ones with that in mind."
    )
    return (
        '<section><h2>Beside published results</h2><p class="note">Accuracy in %. '
        f'{escape(source)}{caution}</p><div class="scroll"><table class="rows narrow"><thead><tr><th></th>'
        '<th scope="col">Clean</th><th scope="col">Mean of all cells</th><th scope="col">Severity 5</th>'
        f'<th scope="col">Passes per image</th></tr></thead><tbody>{body}</tbody></table></div></section>'
    )


def how(result: Json) -> str:
    """Protocol and provenance."""
    made, data, bootstrap = result["provenance"], result["data"], result["bootstrap"]
    cells = result["cells"]["routes"]["gated"]
    hardware = made["hardware"]
    versions = ", ".join(f"{name} {value}" for name, value in made["versions"].items() if value)
    size = result["deck_size_bytes"]
    facts = {
        "Suite": f"{result['title']}: {len(cells)} corruptions at 5 severities",
        "Images": f"test split of {data['name']} ({data['classes']} classes, {data['image_size']} px): clean accuracy "
        f"on all {result['n_clean']:,}; each cell on the same {result['n']:,}, class-balanced, chosen with seed "
        f"{result['seed']}",
        "Frost": FROST.get(result["frost"], result["frost"]),
        "Intervals": f"95 %, percentile bootstrap over images, {bootstrap['resamples']:,} resamples; all cells of an "
        "image are resampled together, differences are paired",
        "Selection": f"best single card chosen on {result['best_card']['chosen_on']}; nothing was chosen on test "
        "images. The cell oracle picks its cards on the measured cells themselves, which flatters it a little",
        "Deck": f"{result['deck']} {result['deck_version']}" + (f", {size / 1e6:.2f} MB on disk" if size else ""),
        "Engine": result["engine"],
        "Hardware": f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['system']} {hardware['machine']}",
        "Versions": versions,
        "Commit": made["commit"] or "unknown",
        "Date": made["date"],
        "Command": made["command"] or "not recorded",
        "Data SHA-256": data["sha256"],
    }
    body = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())
    return f'<section class="how"><h2>How the numbers were made</h2><dl>{body}</dl></section>'
