"""`python -m eval compare`: two or more decks, or one deck under several gates, side by side, from their JSON alone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from html import escape
from pathlib import Path

from cards_deck.errors import DataError, InputError
from eval.report.files import Suites, read_json, read_suites, write_text
from eval.report.markdown import document
from eval.report.render import page
from eval.report.side_by_side import sections, shared, suite_of

SAME = ("title", "source", "seed", "n", "n_clean", "frost", "data")
Decks = dict[str, Suites]


def main(arguments: Sequence[str]) -> int:
    """`python -m eval compare A B ...`: write compare.html and compare.md."""
    parser = argparse.ArgumentParser(prog="python -m eval compare", description="Measured decks side by side.")
    parser.add_argument("report", type=Path, nargs="+", help="folder of reports of a deck, or the JSON of one suite")
    parser.add_argument("--out", type=Path, default=Path(), help="folder to write into; default: the current one")
    parser.add_argument(
        "--anyway", action="store_true", help="compare what was measured on other images or another seed, and say so"
    )
    options = parser.parse_args(arguments)
    decks = read_decks(options.report)
    differences = unlike(decks)
    if differences and not options.anyway:
        raise DataError(
            f"the decks were not measured alike: {'; '.join(differences)}. Measure them alike, or add --anyway to "
            "compare them with that said on the page"
        )
    parts = sections(decks, differences)
    title = " and ".join(decks) if len(decks) == 2 else f"{len(decks)} decks"
    header = f'<header><p class="kind">Comparison</p><h1>{escape(title)}</h1></header>'
    html = write_text(options.out / "compare.html", page(title, header, parts))
    text = write_text(options.out / "compare.md", document(title, ", ".join(decks), parts))
    print(f"wrote {html}\nwrote {text}")
    return 0


def read_decks(paths: Sequence[Path]) -> Decks:
    """What was measured under each path, by a name of its own; InputError for fewer than two."""
    if len(paths) < 2:
        raise InputError(f"name at least two reports to compare, got {len(paths)}")
    decks: Decks = {}
    for path in paths:
        suites = read_suites(path) if path.is_dir() else Suites((read_json(path),), path.parent)
        folder = path if path.is_dir() else path.resolve().parent
        name = folder.resolve().name if folder.name.startswith(suites.deck["deck"]) else str(suites.deck["deck"])
        if name in decks:
            name = f"{name} ({path})"
        if name in decks:
            raise InputError(f"{path} is named twice")
        decks[name] = suites
    if not shared(decks):
        held = "; ".join(f"{name}: {', '.join(suite['suite'] for suite in one.all)}" for name, one in decks.items())
        raise DataError(f"the decks must have a suite in common, but they hold {held}")
    return decks


def unlike(decks: Decks) -> list[str]:
    """What differs in how the shared suites were measured, in words."""
    found = []
    for suite in shared(decks):
        made = {name: suite_of(one, suite) for name, one in decks.items()}
        for field in SAME:
            values = {name: _comparable(result.get(field)) for name, result in made.items()}
            if len({str(value) for value in values.values()}) > 1:
                shown = ", ".join(f"{value} ({name})" for name, value in values.items())
                found.append(f"{suite}: {field} is {shown}")
    return found


def _comparable(value: object) -> object:
    return str(value.get("sha256") or value.get("name"))[:12] if isinstance(value, dict) else value
