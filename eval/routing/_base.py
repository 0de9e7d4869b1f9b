"""What a way of using a deck's cards answers, and how one-card answers are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cards_deck.spectrum import Floats
from eval.measure import CellAnswers


@dataclass(frozen=True, eq=False)
class Routed:
    """`weights` float32 [n, k] over the cards, rows sum to 1; `cost` float64 [n]: cards that had to run for it."""

    weights: Floats
    cost: NDArray[np.float64]


class Route(Protocol):
    """One way to use the cards on each image of a cell."""

    def route(self, cell: CellAnswers) -> Routed:
        """Weights and cost of each image. Each image is routed by itself, but by the oracles."""
        ...


def one_card(chosen: NDArray[np.integer], cards: int, *, cost: float = 1) -> Routed:
    """The whole weight on card `chosen` [n] of `cards`."""
    weights = np.zeros((len(chosen), cards), np.float32)
    weights[np.arange(len(chosen)), chosen] = 1
    return Routed(weights, np.full(len(chosen), float(cost)))
