"""Types of the metrics, and the checks that their arguments share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cards_deck.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Real = NDArray[np.floating[Any]]
Whole = NDArray[np.integer[Any]]

TINY = 1e-12  # a probability of zero would make the logarithm infinite


def finite_row(values: ArrayLike, what: str) -> Floats:
    """`values` as float64 [n >= 1], all finite; InputError naming `what` otherwise."""
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or not len(row):
        raise InputError(f"{what} must be [n] with n >= 1, got {list(row.shape)}")
    if not np.isfinite(row).all():
        raise InputError(f"{what} must be finite, got NaN or infinity: check what computed them")
    return row


def confidence_and_correct(confidence: ArrayLike, correct: ArrayLike) -> tuple[Floats, Floats]:
    """Both as float64 [n]; InputError where they differ in length, or `correct` is not 0 and 1."""
    sure, right = finite_row(confidence, "confidence"), finite_row(correct, "correct")
    if len(sure) != len(right):
        raise InputError(f"confidence and correct must be equally long, got {len(sure)} and {len(right)}")
    if not np.isin(right, (0, 1)).all():
        raise InputError("correct must hold true and false (or 1 and 0) only")
    return sure, right


def checked_probabilities(probabilities: ArrayLike, labels: Whole | None = None) -> Floats:
    """`probabilities` as float64 [n >= 1, c], rows that sum to 1 (to 1e-3); `labels` [n] within 0..c-1 where given."""
    rows = np.asarray(probabilities, dtype=np.float64)
    if rows.ndim != 2 or not rows.size:
        raise InputError(f"probabilities must be [n >= 1, classes], got {list(rows.shape)}")
    if not np.isfinite(rows).all() or rows.min() < 0 or np.abs(rows.sum(axis=1) - 1).max() > 1e-3:
        raise InputError("probabilities must be finite, not negative, and each row must sum to 1: pass no logits")
    if labels is not None:
        if np.shape(labels) != (len(rows),):
            raise InputError(
                f"labels must be [{len(rows)}], one per row of probabilities, got {list(np.shape(labels))}"
            )
        if labels.min() < 0 or labels.max() >= rows.shape[1]:
            raise InputError(f"labels must be 0 to {rows.shape[1] - 1}, got {labels.min()} to {labels.max()}")
    return rows


def card_rows(values: ArrayLike, what: str) -> NDArray[Any]:
    """`values` as an array [k >= 1, n >= 1] of whole numbers or true and false."""
    rows = np.asarray(values)
    if rows.ndim != 2 or not rows.size or rows.dtype.kind not in "biu":
        raise InputError(f"{what} must be [cards, images], whole numbers or true and false, got {list(rows.shape)}")
    return rows
