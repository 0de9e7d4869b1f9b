"""Upper bounds of any routing: they look at the labels of the cell that they route, so they are no systems."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eval.measure import CellAnswers, labels_of
from eval.metrics import is_correct
from eval.routing._base import Routed, one_card


@dataclass(frozen=True)
class CellOracle:
    """One card per cell, the one with the highest accuracy on the cell's own images (first of equals)."""

    def route(self, cell: CellAnswers) -> Routed:
        """See `Route`; InputError for a cell without labels."""
        correct = is_correct(cell.logits, labels_of(cell))
        k, n = correct.shape
        return one_card(np.full(n, int(correct.mean(axis=1).argmax())), k)


@dataclass(frozen=True)
class Oracle:
    """A card that is right wherever one is; costs all cards."""

    def route(self, cell: CellAnswers) -> Routed:
        """See `Route`; InputError for a cell without labels."""
        correct = is_correct(cell.logits, labels_of(cell))
        return one_card(correct.argmax(axis=0), len(correct), cost=len(correct))
