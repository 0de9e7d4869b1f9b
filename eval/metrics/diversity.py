"""Do the cards err on different images? Pairwise measures (Kuncheva and Whitaker, Machine Learning 2003, section 2).

Read them beside the cards' mean accuracy: bad cards differ, too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from eval.metrics._arrays import Floats, card_rows


def disagreement(predictions: ArrayLike) -> Floats:
    """Share of images on which two cards answer another class: `predictions` [k, n] -> [k, k], diagonal 0.

    Over classes, as for neural ensembles; Kuncheva and Whitaker compare right and wrong: pass `correct` for theirs.
    """
    rows = card_rows(predictions, "predictions")
    return np.stack([(rows != row).mean(axis=1) for row in rows])


def double_fault(correct: ArrayLike) -> Floats:
    """Share of images on which two cards are both wrong: `correct` bool [k, n] -> [k, k]; the diagonal is each card's
    error."""
    wrong = 1.0 - card_rows(correct, "correct").astype(bool)
    return np.asarray(wrong @ wrong.T / wrong.shape[1])
