"""The tables of measured results in README.md and models/README.md, generated from the committed reports only.

They stand between `<!-- results:begin -->`, or `<!-- results:begin DECK -->` for one deck alone, and
`<!-- results:end -->`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from cards_deck.errors import InputError
from eval.report import Json, read_suites
from eval.report.against_average import against_average

REPORTS = Path(__file__).resolve().parent / "reports"
GENERATED = ("README.md", "models/README.md")
BEGIN, END = re.compile(r"<!-- results:begin(?: ([\w-]+))? -->"), "<!-- results:end -->"

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


def results_table(folder: Path = REPORTS, deck: str | None = None) -> str:
    """Markdown of all corruption suites in `folder/<deck>/<suite>.json`, a table per deck; a sentence for none.

    Folders named `<deck>@<gate>` hold studies of other gates, and are left out.
    """
    folders = sorted({path.parent for path in folder.glob("*/*.json") if "@" not in path.parent.name})
    named = [path for path in folders if deck in (None, path.name)]
    decks = [found for path in named if (found := read_suites(path).of("corruptions"))]
    return "\n\n".join(map(_section, decks)) if decks else "No deck has been measured yet."


def _section(suites: Sequence[Json]) -> str:
    """One deck: three rows per corruption suite, the main one first."""
    main = suites[0]
    head = ["", *(label for _, label in COLUMNS), "cards per image"]
    lines = [
        f"**{main['deck']}** on {_listed([suite['title'] for suite in suites])}, accuracy in % [95 % interval]",
        "",
        "| " + " | ".join(head) + " |",
        "|---|" + "---:|" * (len(head) - 1),
    ]
    for suite in suites:
        where = "" if suite is main else f", {suite['title'].partition(' (')[0]}"
        for route, label in ROWS:
            values = suite["routes"][route]
            shown = [_percent(values.get(field)) for field, _ in COLUMNS]
            lines.append(f"| {label}{where} | " + " | ".join([*shown, f"{values['cards_per_image']:.2f}"]) + " |")
    return "\n".join([*lines, "", _caption(suites)])


def _listed(titles: Sequence[str]) -> str:
    return " and ".join(titles) if len(titles) < 3 else f"{', '.join(titles[:-1])} and {titles[-1]}"


def _percent(interval: dict[str, float] | None) -> str:
    if interval is None:
        return "–"
    return f"{100 * interval['value']:.1f} [{100 * interval['low']:.1f}, {100 * interval['high']:.1f}]"


def _caption(suites: Sequence[Json]) -> str:
    main = suites[0]
    size = main["deck_size_bytes"]
    cells = [f"{suite['n']:,} per cell of {len(suite['cells']['routes']['gated'])} x 5" for suite in suites]
    worst = [_worst(suite) for suite in suites]
    parts = [
        f"{main['n_clean']:,} clean test images, {_listed(cells)}",
        f"gated less the plain average in the worst cell: {_listed(worst)}",
        f"{len(main['cards'])} cards, {size / 1e6:.1f} MB on disk" if size else f"{len(main['cards'])} cards",
        f"best single card chosen on validation data: {main['best_card']['name']}",
        f"measured {max(suite['provenance']['date'][:10] for suite in suites)}",
    ]
    return "; ".join(parts) + "."


def _worst(suite: Json) -> str:
    (corruption, severity), (gain, _) = min(against_average(suite).items(), key=lambda one: one[1][0])
    return f"{100 * gain:+.1f} points ({corruption} {severity})"


def with_table(text: str, folder: Path, *, name: str) -> str:
    """`text` with what stands between the markers made anew; InputError unless both are there once."""
    found = list(BEGIN.finditer(text))
    if len(found) != 1 or text.count(END) != 1 or found[0].end() > text.index(END):
        raise InputError(
            f"{name} must hold the line <!-- results:begin --> once and the line {END} once below it; add them"
        )
    before, after = text[: found[0].end()], text[text.index(END) :]
    return f"{before}\n{results_table(folder, found[0][1])}\n{after}"


def main(arguments: Sequence[str]) -> int:
    """`python -m eval table`: print the table, rewrite files with --write, or compare with --check."""
    parser = argparse.ArgumentParser(prog="python -m eval table", description="The table of all measured results.")
    parser.add_argument("--reports", type=Path, default=REPORTS, help="default: eval/reports")
    parser.add_argument("--write", type=Path, nargs="+", default=[], metavar="FILE", help="rewrite the block in FILE")
    parser.add_argument("--check", type=Path, nargs="+", default=[], metavar="FILE", help="exit 1 where FILE disagrees")
    options = parser.parse_args(arguments)
    if not options.write and not options.check:
        print(results_table(options.reports))
    stale = [path for path in options.check if _changed(path, options.reports)]
    for path in stale:
        print(f"{path} disagrees with the reports: run `python -m eval table --write {path}`", file=sys.stderr)
    for path in options.write:
        text = path.read_text(encoding="utf-8")
        path.write_text(with_table(text, options.reports, name=str(path)), encoding="utf-8")
    return 1 if stale else 0


def _changed(path: Path, folder: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    return with_table(text, folder, name=str(path)) != text


if __name__ == "__main__":
    from eval.__main__ import main as command_line

    files = [path for path in (REPORTS.parent.parent / name for name in GENERATED) if path.exists()]
    sys.exit(command_line(["table", *(sys.argv[1:] or ["--write", *map(str, files)])]))
