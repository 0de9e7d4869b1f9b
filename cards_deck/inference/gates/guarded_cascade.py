"""A cascade for a spectrum that may be wrong: where the answer is not sure, it ends in the plain average."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cards_deck.inference.gates._asking import AskingGate
from cards_deck.inference.gates._base import GATES, Bools, largest
from cards_deck.inference.gates._likelihood import worst_temperatures
from cards_deck.inference.gates._observed import Observed
from cards_deck.spectrum import Floats


@GATES.register("guarded_cascade")
@dataclass(frozen=True, eq=False)
class GuardedCascadeGate(AskingGate):
    """As `spectrum_cascade`, but who joins is no average of other cards while there are others, so that with enough
    `max_cards` the last answer is about that of the plain average; and each card is as sure as its answers deserve in
    the validation cell where it is too sure the most.

    A card that the spectrum names by mistake, under a shift that the card was not trained for, is then seldom believed
    alone. Gives up some accuracy on average for a small loss in the worst case.
    """

    _averages: Bools = field(init=False, repr=False)  # [k]

    def prepare(self) -> None:
        """Check the arrays, and see which cards are averages."""
        super().prepare()
        averages = np.ones(self.cards, np.bool_)
        averages[list(self.known.originals)] = False
        object.__setattr__(self, "_averages", averages)

    def following(self, preference: Floats, ran: Bools) -> Bools:
        """See `AskingGate`: the most preferred one left that is no average, else the most preferred one left."""
        last = ran | self._averages
        barred = np.where(last.all(axis=1, keepdims=True), ran, last)
        return largest(np.where(barred, np.float32(-1), preference), 1)

    @classmethod
    def calibration(cls, observed: Observed) -> Floats:
        """See `AskingGate`."""
        return worst_temperatures(observed)
