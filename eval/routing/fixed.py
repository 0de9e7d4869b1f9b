"""The gate itself, and the baselines that look at nothing: the plain average, one card, cards drawn at random."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from cards_deck.inference.gates import Decision, Gate
from eval.measure import CellAnswers, looked_up
from eval.routing._base import Routed, one_card


@dataclass(frozen=True)
class Gated:
    """The deck as it is served: its gate's weights, at the cost of the cards that it ran."""

    def route(self, cell: CellAnswers) -> Routed:
        """See `Route`."""
        return _routed(cell.decision)


@dataclass(frozen=True, eq=False)
class OtherGate:
    """The same cards under another gate."""

    gate: Gate

    def route(self, cell: CellAnswers) -> Routed:
        """See `Route`."""
        return _routed(looked_up(self.gate, cell.spectra(), cell.logits))


def _routed(decision: Decision) -> Routed:
    return Routed(decision.weights, decision.ran.sum(axis=1).astype(np.float64))


@dataclass(frozen=True)
class Uniform:
    """The cards `among` the deck's with equal weights (Lakshminarayanan et al., NeurIPS 2017): an ensemble without a
    gate. Averages of other cards are not among them."""

    among: tuple[int, ...]

    def route(self, cell: CellAnswers) -> Routed:
        """See `Route`."""
        k, n = cell.logits.shape[:2]
        weights = np.zeros((n, k), np.float32)
        weights[:, list(self.among)] = 1 / len(self.among)
        return Routed(weights, np.full(n, float(len(self.among))))


@dataclass(frozen=True)
class BestCard:
    """Always the card at `place` in the deck."""

    place: int

    def route(self, cell: CellAnswers) -> Routed:
        """See `Route`."""
        k, n = cell.logits.shape[:2]
        return one_card(np.full(n, self.place), k)


@dataclass(frozen=True)
class RandomCards:
    """`count` of the cards `among` the deck's, drawn at random for each image of each cell, with equal weights: what a
    gate would be that knew nothing."""

    seed: int
    among: tuple[int, ...]
    count: int = 1

    def route(self, cell: CellAnswers) -> Routed:
        """See `Route`; the draws follow from the seed and the cell's name."""
        k, n = cell.logits.shape[:2]
        key = int.from_bytes(hashlib.sha256(f"{self.seed}/{cell.name}".encode()).digest()[:16], "big")
        order = np.random.default_rng(key).random((n, len(self.among))).argsort(axis=1)
        count = min(self.count, len(self.among))
        weights = np.zeros((n, k), np.float32)
        np.put_along_axis(weights, np.asarray(self.among)[order[:, :count]], np.float32(1 / count), axis=1)
        return Routed(weights, np.full(n, float(count)))
