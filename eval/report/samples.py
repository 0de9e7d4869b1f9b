"""Sample images and confident mistakes as a page of its own, for one's own eyes.

A data set's images do not go into a published report: nothing here writes below eval/reports of this checkout.
The arrays are those that `eval.samples` describes and keeps in `samples/<suite>.npz` beside the JSON.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cards_deck.errors import DataError, InputError
from eval.numbers import words
from eval.report.blocks import Raw, Section, Text
from eval.report.files import write_text
from eval.report.render import page

Arrays = Mapping[str, NDArray[Any]]

PUBLISHED = Path(__file__).resolve().parents[1] / "reports"
ACROSS = 4  # images beside each other in a cell
GAP = 1  # pixels between them
NEEDED = ("cells", "images", "labels", "answers", "classes")


def refuse_published(folder: Path, published: Path = PUBLISHED) -> None:
    """InputError where `folder` is one of committed reports, which must hold no images of a data set."""
    if folder.resolve().is_relative_to(published.resolve()):
        raise InputError(
            f"sample images must not be written under {published}, which is published: choose another folder with --out"
        )


def write_samples_page(folder: Path, *, published: Path = PUBLISHED) -> Path | None:
    """Write `folder`/samples.html from every `samples/<suite>.npz` below it; None where there is none."""
    paths = sorted((folder / "samples").glob("*.npz"))
    if not paths:
        return None
    refuse_published(folder, published)
    sections = [section for path in paths for section in samples_section(path.stem, read_samples(path))]
    header = f"<header><h1>{escape(folder.name)}: images</h1></header>"
    return write_text(folder / "samples.html", page(f"{folder.name}: images", header, sections))


def read_samples(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in a file of samples; DataError naming the file where they are not there."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as samples ({error}): measure again with --samples") from error
    missing = [name for name in NEEDED if name not in arrays]
    if missing:
        raise DataError(f"{path} must hold the arrays of samples; it lacks {', '.join(missing)}: measure again")
    return arrays


def samples_section(name: str, arrays: Arrays) -> list[Section]:
    """A section with the same images in every cell, and one with the mistakes that the deck was most sure of.

    `cells` [m] are names like "fog 3", `images` uint8 [m, s, h, h, 3], `labels` [s], `answers` [m, s].
    """
    note = Text(
        f"The same {arrays['images'].shape[1]} images in every cell, severity 1 to 5 from left to right. Below each: "
        "how many of them the gated deck answers right."
    )
    shown = [Section(f"samples-{name}", f"{name}: sample images", (note, Raw(_cells(arrays))), name)]
    if len(arrays.get("mistake_images", ())):
        text = Text(
            "The wrong answers of the gated deck that it is most sure of: its answer, what was right, and where."
        )
        blocks = (text, Raw(_mistakes(arrays)))
        shown.append(Section(f"mistakes-{name}", f"{name}: confident mistakes", blocks, f"{name}, mistakes"))
    return shown


def _cells(arrays: Arrays) -> str:
    rows: dict[str, list[str]] = {}
    for cell, images, answers in zip(arrays["cells"], arrays["images"], arrays["answers"], strict=True):
        corruption = str(cell).rpartition(" ")[0] or str(cell)
        right = int((answers == arrays["labels"]).sum())
        tag = _image(_sheet(images), f"{words(str(cell))}", scale=1.3)
        rows.setdefault(corruption, []).append(f"<td>{tag}<small>{right} of {len(images)}</small></td>")
    body = "".join(
        f'<tr><th scope="row">{escape(words(corruption))}</th>{"".join(cells)}</tr>'
        for corruption, cells in rows.items()
    )
    return f'<div class="scroll"><table class="samples">{_severities(rows)}{body}</table></div>'


def _severities(rows: Mapping[str, Sequence[str]]) -> str:
    """The head of the table: a severity above each column of cells."""
    most = max(map(len, rows.values()), default=0)
    head = "".join(f'<th scope="col">{severity}</th>' for severity in range(1, most + 1))
    return f'<thead><tr><th scope="col">severity</th>{head}</tr></thead>'


def _mistakes(arrays: Arrays) -> str:
    classes = arrays["classes"]
    figures = []
    for image, cell, label, answer, confidence in zip(
        *(arrays[f"mistake_{part}"] for part in ("images", "cells", "labels", "answers", "confidence")), strict=True
    ):
        text = f"<b>{escape(str(classes[answer]))}</b> <span>{100 * float(confidence):.1f} %</span>"
        text += f"<small>is {escape(str(classes[label]))}, {escape(words(str(cell)))}</small>"
        figures.append(f"<figure>{_image(image, str(classes[label]), scale=3)}<figcaption>{text}</figcaption></figure>")
    return f'<div class="mistakes">{"".join(figures)}</div>'


def _sheet(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images [s, h, w, 3] as one with an alpha channel, `ACROSS` in a line; what lies between them is clear."""
    count, height, width, _ = images.shape
    lines, (down, right) = -(-count // ACROSS), (height + GAP, width + GAP)
    sheet = np.zeros((lines * down - GAP, ACROSS * right - GAP, 4), np.uint8)
    for place, image in enumerate(images):
        top, left = place // ACROSS * down, place % ACROSS * right
        sheet[top : top + height, left : left + width] = np.dstack([image, np.full((height, width), 255, np.uint8)])
    return sheet


def _image(pixels: NDArray[np.uint8], alt: str, *, scale: float) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    height, width = pixels.shape[:2]
    size = f'width="{scale * width:g}" height="{scale * height:g}"'
    return f'<img src="data:image/png;base64,{data}" {size} alt="{escape(alt)}">'
