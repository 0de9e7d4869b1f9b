"""Who is right, per image and cell, and how cells are grouped into the headline numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import InputError
from eval.metrics._arrays import Bools, Floats


def is_correct(scores: NDArray[np.floating], labels: NDArray[np.integer]) -> Bools:
    """`scores` [..., n, classes] (logits or probabilities), `labels` [n] -> bool [..., n]: is the label on top?

    A tie goes to the lower class number, as `argmax` does. A row with a score that is not finite raises InputError.
    """
    if scores.ndim < 2 or scores.shape[-2] != len(labels):
        raise InputError(f"scores must be [..., {len(labels)}, classes] for {len(labels)} labels, got {scores.shape}")
    if not np.isfinite(scores).all():
        raise InputError("scores must be finite: a card answered NaN or infinity; check the card's values")
    return np.asarray(scores.argmax(axis=-1) == labels)


def cell_groups(cells: Sequence[tuple[str, int]], noise: Sequence[str]) -> dict[str, Bools]:
    """Which cells (corruption, severity) each headline number averages: name -> bool [cells]."""
    severe = np.array([severity == 5 for _, severity in cells])
    noisy = np.array([corruption in noise for corruption, _ in cells])
    everything = np.ones(len(cells), dtype=bool)
    return {"mean": everything, "severity5": severe, "noise": noisy, "non_noise": ~noisy}


def per_image_means(correct: NDArray[np.generic], groups: Mapping[str, Bools]) -> Floats:
    """`correct` [cells, n] -> [n, groups]: each image's mean over the cells of each group."""
    columns = [correct[mask].mean(axis=0, dtype=np.float64) for mask in groups.values()]
    return np.stack(columns, axis=1)


def best_card_per_cell(correct: Bools) -> NDArray[np.intp]:
    """`correct` [cells, cards, n] -> [cells]: the card with the highest accuracy in each cell (first of equals)."""
    return np.asarray(correct.mean(axis=2).argmax(axis=1))
