"""What a report is made of, before it becomes HTML or Markdown: sections of texts, tables, heat maps and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from eval.numbers import Interval

Cells = Mapping[str, Sequence[float]]  # corruption -> one value per severity
Scale = Literal["accuracy", "difference", "share", "count"]


@dataclass(frozen=True)
class Text:
    """A paragraph; **bold** is the only markup. `kind` is its CSS class: note, lead, claim, warning."""

    text: str
    kind: str = "note"


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclass(frozen=True)
class Column:
    """The head of a column. Columns of whiskers (`plot`) are left out of Markdown."""

    label: str
    detail: str = ""
    plot: bool = False


@dataclass(frozen=True)
class Cell:
    """A number as it is printed, with its smaller second line; `kind` is a CSS class, such as better or worse."""

    text: str
    detail: str = ""
    kind: str = ""
    tag: str = ""


@dataclass(frozen=True)
class Whisker:
    """An interval drawn on the scale from `low` to `high`."""

    interval: Interval
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """A row of a table: its name and one cell per further column."""

    name: Cell
    cells: tuple[Cell | Whisker, ...]
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """`columns` are the heads of the cells, without the first one of the names."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    kind: str = ""


@dataclass(frozen=True)
class Map:
    """One value per corruption and severity, painted by `scale`.

    `marks` says of each cell what a test showed: "better", "worse" or nothing. `top` ends the scale of counts.
    `starts` are the corruptions above which a rule is drawn.
    """

    title: str
    note: str
    cells: Cells
    scale: Scale
    marks: Mapping[str, Sequence[str]] | None = None
    top: float = 1.0
    starts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Maps:
    """Heat maps side by side."""

    maps: tuple[Map, ...]
    small: bool = False


@dataclass(frozen=True)
class Picture:
    """A drawing as inline SVG. Markdown shows its caption only where `words` say what can be seen."""

    svg: str
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side; `size` (small, medium, large) says how many fit into a line."""

    pictures: tuple[Picture, ...]
    size: str = "medium"


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    facts: Mapping[str, str]


@dataclass(frozen=True)
class Points:
    """Short statements, each with what it shows: better, worse or nothing."""

    points: tuple[Cell, ...]


@dataclass(frozen=True)
class Tiles:
    """The numbers of the headline: name, number, interval."""

    tiles: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Aside:
    """Two halves beside each other, where there is room."""

    left: tuple[Block, ...]
    right: tuple[Block, ...]


@dataclass(frozen=True)
class Raw:
    """HTML that is ready; Markdown leaves it out."""

    html: str


Block = Text | Heading | Table | Maps | Pictures | Facts | Points | Tiles | Aside | Raw


@dataclass(frozen=True)
class Section:
    """A part of the report with a heading and a place in the list of contents."""

    name: str
    title: str
    blocks: tuple[Block, ...]
    short: str = ""
