"""The table of measured results for README.md and models/README.md, generated from the committed reports only."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cards_deck.errors import InputError
from eval.report import Json, read_json

REPORTS = Path(__file__).resolve().parent / "reports"
GENERATED = ("README.md", "models/README.md")
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"

ROWS = (
    ("gated", "deck, gated"),
    ("uniform", "deck, plain average"),
    ("best_card", "best single card"),
)
COLUMNS = (
    ("clean", "clean"),
    ("mean", "mean"),
    ("severity5", "severity 5"),
    ("noise", "noise"),
    ("non_noise", "non-noise"),
)


def results_table(folder: Path = REPORTS) -> str:
    """Markdown of all reports `folder/<deck>/<suite>.json`, sorted by name; says so where there are none."""
    paths = sorted(folder.glob("*/*.json"))
    if not paths:
        return "No deck has been measured yet."
    return "\n\n".join(_section(read_json(path)) for path in paths)


def _section(result: Json) -> str:
    head = ["", *(label for _, label in COLUMNS), "cards per image"]
    lines = [
        f"**{result['deck']}** on {result['title']}, accuracy in % [95 % interval]",
        "",
        "| " + " | ".join(head) + " |",
        "|---|" + "---:|" * (len(head) - 1),
    ]
    for route, label in ROWS:
        values = result["routes"][route]
        shown = [_percent(values[field]) for field, _ in COLUMNS]
        lines.append(f"| {label} | " + " | ".join([*shown, f"{values['cards_per_image']:.2f}"]) + " |")
    return "\n".join([*lines, "", _caption(result)])


def _percent(interval: dict[str, float]) -> str:
    return f"{100 * interval['value']:.1f} [{100 * interval['low']:.1f}, {100 * interval['high']:.1f}]"


def _caption(result: Json) -> str:
    made: dict[str, Any] = result["provenance"]
    size = result["deck_size_bytes"]
    parts = [
        f"{result['n_clean']:,} clean test images, {result['n']:,} per cell of "
        f"{len(result['cells']['routes']['gated'])} x 5",
        f"{len(result['cards'])} cards, {size / 1e6:.1f} MB on disk" if size else f"{len(result['cards'])} cards",
        f"best single card chosen on validation data: {result['best_card']['name']}",
        f"measured {made['date'][:10]}",
    ]
    return "; ".join(parts) + "."


def with_table(text: str, table: str, *, name: str) -> str:
    """`text` with the block between the markers replaced by `table`; InputError unless both are there once."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise InputError(f"{name} must hold the line {BEGIN} once and the line {END} once below it; add them")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main(arguments: Sequence[str]) -> int:
    """`python -m eval table`: print the table, rewrite files with --write, or compare with --check."""
    parser = argparse.ArgumentParser(prog="python -m eval table", description="The table of all measured results.")
    parser.add_argument("--reports", type=Path, default=REPORTS, help="default: eval/reports")
    parser.add_argument("--write", type=Path, nargs="+", default=[], metavar="FILE", help="rewrite the block in FILE")
    parser.add_argument("--check", type=Path, nargs="+", default=[], metavar="FILE", help="exit 1 where FILE disagrees")
    options = parser.parse_args(arguments)
    table = results_table(options.reports)
    if not options.write and not options.check:
        print(table)
    stale = [path for path in options.check if _changed(path, table)]
    for path in stale:
        print(f"{path} disagrees with the reports: run `python -m eval table --write {path}`", file=sys.stderr)
    for path in options.write:
        text = path.read_text(encoding="utf-8")
        path.write_text(with_table(text, table, name=str(path)), encoding="utf-8")
    return 1 if stale else 0


def _changed(path: Path, table: str) -> bool:
    text = path.read_text(encoding="utf-8")
    return with_table(text, table, name=str(path)) != text


if __name__ == "__main__":
    from eval.__main__ import main as command_line

    files = [path for path in (REPORTS.parent.parent / name for name in GENERATED) if path.exists()]
    sys.exit(command_line(["table", *(sys.argv[1:] or ["--write", *map(str, files)])]))
