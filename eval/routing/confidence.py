"""The most confident card answers: needs no spectra, but has to run every card to find out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cards_deck.inference.predictor import softmax
from eval.measure import CellAnswers
from eval.metrics import fit_temperature
from eval.routing._base import Routed, one_card


@dataclass(frozen=True)
class Confidence:
    """Of the cards `among` the deck's the one whose largest probability, at its own temperature, is the highest (first
    of equals); costs all of those. `temperatures` are of all cards."""

    temperatures: tuple[float, ...]
    among: tuple[int, ...]

    def route(self, cell: CellAnswers) -> Routed:
        """See `Route`."""
        sure = [softmax(cell.logits[card] / self.temperatures[card]).max(axis=1) for card in self.among]
        return one_card(np.asarray(self.among)[np.argmax(sure, axis=0)], len(cell.logits), cost=len(self.among))


def card_temperatures(cells: Sequence[CellAnswers]) -> tuple[float, ...]:
    """The temperature of each card that fits all labelled `cells` together."""
    labels = np.concatenate([cell.labels for cell in cells if cell.labels is not None])
    logits = np.concatenate([cell.logits for cell in cells], axis=1)
    return tuple(fit_temperature(softmax(card), labels) for card in logits)
