"""Sample images of every cell and the most confident mistakes, as one .npz beside the JSON.

They are for looking at on one's own machine: a data set's images do not go into a published report. The arrays are

`cells` [m]: names like "fog 3"; `images` uint8 [m, s, h, h, 3]: the same s of each; `labels` [s]; `answers` [m, s]
of the gated deck; `choices` [m, s]: index of the augmentation that the gate found nearest, -1 for none;
`mistake_images` uint8 [e, h, h, 3]; `mistake_cells` [e]: names, "clean" among them; `mistake_labels`, `mistake_answers`
and `mistake_confidence` [e] (tempered), most confident first; `classes` and `augmentations`: names.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck.data import Dataset
from cards_deck.deck import Deck
from cards_deck.files import write_bytes
from eval.cells import Cells, Images, balanced_subset
from eval.results import Measured
from eval.summary import CellSummary

SHOWN = 8  # images of each cell
MISTAKES = 40

Arrays = dict[str, NDArray[Any]]


def samples(deck: Deck, test: Dataset, cells: Cells, names: Sequence[tuple[str, int]], measured: Measured) -> Arrays:
    """The arrays above, from a finished measurement; only the images shown are made again."""
    shown = balanced_subset(cells.labels, np.arange(len(cells.labels)), SHOWN)
    part = cells.part(shown)
    pictures = [part.images(*cell) for cell in names]
    return {
        "cells": np.array([_name(cell) for cell in names]),
        "images": np.stack(pictures),
        "labels": cells.labels[shown],
        "answers": np.stack([cell.answers[shown] for cell in measured.cells]),
        "choices": np.stack([cell.choices[shown] for cell in measured.cells]),
        "classes": np.array(deck.classes),
        "augmentations": np.array(deck.references.augmentations),
        **_mistakes(test, cells, names, measured),
    }


def write_samples(arrays: Arrays, path: Path) -> Path:
    """Write the .npz under its final name only when it is complete."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, stream.getvalue())
    return path


def _name(cell: tuple[str, int]) -> str:
    return f"{cell[0]} {cell[1]}" if cell[1] else cell[0]


def _mistakes(test: Dataset, cells: Cells, names: Sequence[tuple[str, int]], measured: Measured) -> Arrays:
    """The wrong answers of the gated deck that it is most sure of, each image once on clean and once over the cells."""
    found = [
        (float(confidence), place, int(row))
        for place, cell in enumerate((measured.clean, *measured.cells))
        for row, confidence in _most_confident(cell)
    ]
    found.sort(key=_by_confidence)
    first = {(place == 0, row): (confidence, place, row) for confidence, place, row in reversed(found)}
    chosen = sorted(first.values(), key=_by_confidence)[:MISTAKES]
    where: list[tuple[str, int]] = [("clean", 0), *names]
    summaries = (measured.clean, *measured.cells)
    labels = [test.labels[row] if place == 0 else cells.labels[row] for _, place, row in chosen]
    images = [_image(test, cells, where[place], row) for _, place, row in chosen]
    return {
        "mistake_images": np.stack(images) if images else np.empty((0, *test.images.shape[1:]), np.uint8),
        "mistake_cells": np.array([_name(where[place]) for _, place, _ in chosen], dtype=str),
        "mistake_labels": np.array(labels, dtype=np.int64),
        "mistake_answers": np.array([summaries[place].answers[row] for _, place, row in chosen], dtype=np.int64),
        "mistake_confidence": np.array([confidence for confidence, _, _ in chosen], dtype=np.float64),
    }


def _by_confidence(mistake: tuple[float, int, int]) -> tuple[float, int, int]:
    return -mistake[0], mistake[1], mistake[2]


def _most_confident(cell: CellSummary) -> list[tuple[int, float]]:
    gated = cell.routes["gated"]
    wrong = np.flatnonzero(~gated.correct)
    order = wrong[np.argsort(-gated.confidence[wrong], kind="stable")]
    return [(int(row), float(gated.confidence[row])) for row in order]


def _image(test: Dataset, cells: Cells, cell: tuple[str, int], row: int) -> Images:
    images = test.images[row : row + 1] if cell[1] == 0 else cells.part(np.array([row])).images(*cell)
    return np.asarray(images[0], np.uint8)
