"""Blocks as HTML, and the page around them: no script, nothing fetched, light and dark, fit for paper."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import singledispatch
from html import escape
from pathlib import Path

from eval.numbers import percent
from eval.report.blocks import (
    Aside,
    Block,
    Cell,
    Column,
    Facts,
    Heading,
    Maps,
    Picture,
    Pictures,
    Points,
    Raw,
    Row,
    Section,
    Table,
    Text,
    Tiles,
    Whisker,
)
from eval.report.heatmaps import heat_map


def page(title: str, header: str, sections: Sequence[Section]) -> str:
    """A whole document: `header` is HTML that stands above the sections."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    links = "".join(f'<li><a href="#{part.name}">{escape(part.short or part.title)}</a></li>' for part in sections)
    body = "\n".join(_section(part) for part in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style></head>\n"
        f'<body><nav aria-label="Contents"><ul>{links}</ul></nav>\n<main>\n{header}\n{body}\n</main></body></html>\n'
    )


def _section(part: Section) -> str:
    heading = f"<h2>{escape(part.title)}</h2>" if part.title else ""
    return f'<section id="{part.name}">{heading}{"".join(map(html, part.blocks))}</section>'


@singledispatch
def html(block: Block) -> str:
    """A block as HTML."""
    raise NotImplementedError(f"no HTML for {type(block).__name__}")


@html.register
def _text(block: Text) -> str:
    return f'<p class="{block.kind}">{_marked(block.text)}</p>'


@html.register
def _heading(block: Heading) -> str:
    return f"<h3>{escape(block.text)}</h3>"


@html.register
def _table(block: Table) -> str:
    head = "".join(_column(column) for column in block.columns)
    body = "".join(_row(row) for row in block.rows)
    return (
        f'<div class="scroll"><table class="rows {block.kind}"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


@html.register
def _maps(block: Maps) -> str:
    return f'<div class="maps{" small" if block.small else ""}">{"".join(map(heat_map, block.maps))}</div>'


@html.register
def _pictures(block: Pictures) -> str:
    return f'<div class="pictures {block.size}">{"".join(map(_picture, block.pictures))}</div>'


@html.register
def _facts(block: Facts) -> str:
    body = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in block.facts.items())
    return f"<dl>{body}</dl>"


@html.register
def _points(block: Points) -> str:
    body = "".join(
        f'<li class="{point.kind}">{_marked(point.text)}{_small(point.detail)}</li>' for point in block.points
    )
    return f'<ul class="points">{body}</ul>'


@html.register
def _tiles(block: Tiles) -> str:
    body = "".join(
        f'<div class="tile"><span>{escape(name)}</span><b>{escape(value)}<i>%</i></b>{_small(span)}</div>'
        for name, value, span in block.tiles
    )
    return f'<div class="tiles">{body}</div>'


@html.register
def _aside(block: Aside) -> str:
    left, right = ("".join(map(html, half)) for half in (block.left, block.right))
    return f'<div class="aside"><div>{left}</div><div>{right}</div></div>'


@html.register
def _raw(block: Raw) -> str:
    return block.html


def _picture(shown: Picture) -> str:
    caption = f"<figcaption><b>{escape(shown.title)}</b><span>{escape(shown.note)}</span></figcaption>"
    return f'<figure class="picture">{caption if shown.title or shown.note else ""}{shown.svg}</figure>'


def _column(column: Column) -> str:
    css = ' class="plot"' if column.plot else ""
    return f'<th scope="col"{css}>{escape(column.label)}{_small(column.detail)}</th>'


def _row(row: Row) -> str:
    tag = f'<em class="{escape(row.name.tag)}">{escape(row.name.tag)}</em>' if row.name.tag else ""
    cells = "".join(_whisker(cell) if isinstance(cell, Whisker) else _cell(cell) for cell in row.cells)
    name = f'<th scope="row">{escape(row.name.text)}{tag}{_small(row.name.detail)}</th>'
    return f'<tr class="{row.kind}">{name}{cells}</tr>'


def _cell(cell: Cell) -> str:
    css = f' class="{cell.kind}"' if cell.kind else ""
    return f"<td{css}>{escape(cell.text)}{_small(cell.detail)}</td>"


def _whisker(shown: Whisker) -> str:
    """A dot with its interval."""
    width = max(shown.high - shown.low, 1e-9)
    value, low, high = (
        4 + 152 * (min(max(shown.interval[end], shown.low), shown.high) - shown.low) / width
        for end in ("value", "low", "high")
    )
    return (
        f'<td class="plot"><svg class="whisker" viewBox="0 0 160 16" role="img" '
        f'aria-label="{percent(shown.interval["value"])}"><line class="rail" x1="4" x2="156" y1="8" y2="8"/>'
        f'<line class="range" x1="{low:.1f}" x2="{high:.1f}" y1="8" y2="8"/>'
        f'<circle cx="{value:.1f}" cy="8" r="3.6"/></svg></td>'
    )


def _small(text: str) -> str:
    return f"<small>{escape(text)}</small>" if text else ""


def _marked(text: str) -> str:
    """Escaped, with **bold** made bold."""
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(text))
