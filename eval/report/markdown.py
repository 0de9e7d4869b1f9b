"""Blocks as Markdown, for reading in a terminal or on a code host; pictures are left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import singledispatch

from eval.numbers import words
from eval.report.blocks import (
    Aside,
    Block,
    Cell,
    Facts,
    Heading,
    Map,
    Maps,
    Pictures,
    Points,
    Raw,
    Section,
    Table,
    Text,
    Tiles,
    Whisker,
)
from eval.report.heatmaps import written

SIGNS = {"better": " ▲", "worse": " ▼"}


def document(title: str, facts: str, sections: Sequence[Section]) -> str:
    """A whole document; sections that are pictures and words about them are left out."""
    parts = [f"# {title}", facts]
    for section in sections:
        body = list(filter(None, map(markdown, section.blocks)))
        drawn = any(isinstance(block, Pictures | Raw) for block in section.blocks)
        if not drawn or any(not isinstance(block, Text | Heading | Pictures | Raw) for block in section.blocks):
            parts += [f"## {section.title}"] if section.title else []
            parts += body
    return "\n\n".join(parts) + "\n"


@singledispatch
def markdown(block: Block) -> str:
    """A block as Markdown; empty where it cannot be shown."""
    raise NotImplementedError(f"no Markdown for {type(block).__name__}")


@markdown.register
def _text(block: Text) -> str:
    return block.text


@markdown.register
def _heading(block: Heading) -> str:
    return f"### {block.text}"


@markdown.register
def _table(block: Table) -> str:
    shown = [place for place, column in enumerate(block.columns) if not column.plot]
    head = ["", *(block.columns[place].label for place in shown)]
    rows = [[_named(row.name), *(_value(row.cells[place]) for place in shown)] for row in block.rows]
    return grid(head, rows)


@markdown.register
def _maps(block: Maps) -> str:
    return "\n\n".join(_map(shown) for shown in block.maps)


@markdown.register
def _pictures(block: Pictures) -> str:
    return ""


@markdown.register
def _raw(block: Raw) -> str:
    return ""


@markdown.register
def _facts(block: Facts) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in block.facts.items())


@markdown.register
def _points(block: Points) -> str:
    return "\n".join(f"- {point.text}{f' ({point.detail})' if point.detail else ''}" for point in block.points)


@markdown.register
def _tiles(block: Tiles) -> str:
    rows = [[value + " %" for _, value, _ in block.tiles], [span for _, _, span in block.tiles]]
    return grid(["", *(name for name, _, _ in block.tiles)], [["accuracy", *rows[0]], ["95 % interval", *rows[1]]])


@markdown.register
def _aside(block: Aside) -> str:
    return "\n\n".join(filter(None, map(markdown, (*block.left, *block.right))))


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows])


def _map(shown: Map) -> str:
    count = len(next(iter(shown.cells.values())))
    marks = shown.marks or {}
    rows = [
        [
            words(name),
            *(
                written(shown, value) + SIGNS.get(mark, "")
                for value, mark in zip(values, marks.get(name, [""] * count), strict=True)
            ),
            written(shown, math.fsum(values) / count),
        ]
        for name, values in shown.cells.items()
    ]
    title = f"**{shown.title}** ({shown.note})"
    return f"{title}\n\n{grid(['', *map(str, range(1, count + 1)), 'mean'], rows)}"


def _named(cell: Cell) -> str:
    tag = f" ({cell.tag})" if cell.tag else ""
    return f"{cell.text}{tag}{f', {cell.detail}' if cell.detail else ''}"


def _value(cell: Cell | Whisker) -> str:
    if isinstance(cell, Whisker):
        return ""
    return f"{cell.text} [{cell.detail}]" if cell.detail else cell.text
