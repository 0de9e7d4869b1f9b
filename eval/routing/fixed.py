"""The gate itself, and the baselines that look at nothing: the plain average, one card, a card drawn at random."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from eval.measure import CellAnswers
from eval.routing._base import Routed, one_card


@dataclass(frozen=True)
class Gated:
    """The deck as it is served: the gate's weights, at the cost of the cards they name."""

    def route(self, cell: CellAnswers) -> Routed:
        """See `Route`."""
        weights = cell.routing.weights
        return Routed(weights, np.count_nonzero(weights, axis=1).astype(np.float64))


@dataclass(frozen=True)
class Uniform:
    """All cards with equal weights (Lakshminarayanan et al., NeurIPS 2017): an ensemble without a gate."""

    def route(self, cell: CellAnswers) -> Routed:
        """See `Route`."""
        k, n = cell.logits.shape[:2]
        return Routed(np.full((n, k), 1 / k, np.float32), np.full(n, float(k)))


@dataclass(frozen=True)
class BestCard:
    """Always the card at `place` in the deck."""

    place: int

    def route(self, cell: CellAnswers) -> Routed:
        """See `Route`."""
        k, n = cell.logits.shape[:2]
        return one_card(np.full(n, self.place), k)


@dataclass(frozen=True)
class RandomCard:
    """A card drawn at random for each image of each cell: what the gate would be if it knew nothing."""

    seed: int

    def route(self, cell: CellAnswers) -> Routed:
        """See `Route`; the draws follow from the seed and the cell's name."""
        k, n = cell.logits.shape[:2]
        key = int.from_bytes(hashlib.sha256(f"{self.seed}/{cell.name}".encode()).digest()[:16], "big")
        return one_card(np.asarray(np.random.default_rng(key).integers(0, k, size=n), np.int64), k)
