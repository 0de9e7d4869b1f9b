"""The report of one evaluation, from its JSON only: one self-contained HTML file and a Markdown file beside it."""

from __future__ import annotations

import json
import os
import tempfile
from html import escape
from pathlib import Path
from typing import Any

from cards_deck.errors import DataError
from eval import sections, sources
from eval.markdown import render_markdown
from eval.numbers import percent, points, verdict

Json = dict[str, Any]

REQUIRED = ("deck", "deck_version", "suite", "n", "n_clean", "seed", "source", "routes", "cards", "cells", "provenance")


def read_json(path: Path) -> Json:
    """A report's JSON; DataError naming the file where it is not one."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a report ({error}): measure the deck again") from error
    missing = [name for name in REQUIRED if not isinstance(result, dict) or name not in result]
    if missing:
        raise DataError(f"{path} must be the JSON that `python -m eval` writes; it lacks {', '.join(missing)}")
    if result.get("schema_version") != 1:
        raise DataError(f"{path} must have schema_version 1, got {result.get('schema_version')!r}")
    return dict(result)


def write_json(result: Json, path: Path) -> Path:
    """Write the JSON under its final name only when it is complete."""
    return _write(path, json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_reports(path: Path) -> list[Path]:
    """Render the HTML and the Markdown report beside the JSON file `path`; returns what was written."""
    result = read_json(path)
    return [
        _write(path.with_suffix(".html"), render_html(result)),
        _write(path.with_suffix(".md"), render_markdown(result)),
    ]


def render_html(result: Json) -> str:
    """The whole page: no script, no network, light and dark, prints."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    parts = (
        sections.header,
        sections.headline,
        sections.maps,
        sections.routes,
        sections.severities,
        sections.differences,
        sections.cards,
        sections.gate,
        sources.published,
        sources.how,
    )
    body = "\n".join(filter(None, (part(result) for part in parts)))
    title = f"{escape(result['deck'])} on {escape(result['title'])}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}</title>\n<style>\n{style}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def summary_line(result: Json) -> str:
    """The headline of a report in one line of plain text."""
    gated, gain = result["routes"]["gated"], result["differences"]["gated_minus_best_card"]["mean"]
    return (
        f"{result['deck']} on {result['title']}: clean {percent(gated['clean']['value'])} %, mean "
        f"{percent(gated['mean']['value'])} %, severity 5 {percent(gated['severity5']['value'])} %, "
        f"{gated['cards_per_image']:.2f} cards per image; against the best single card "
        f"{points(gain['value'])} points ({verdict(gain)})"
    )


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        part.chmod(0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
