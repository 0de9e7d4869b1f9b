"""The hedged cascade for a spectrum that may be wrong: no card is believed more than under the shift it knows least."""

from __future__ import annotations

from dataclasses import dataclass

from cards_deck.inference.gates._base import GATES
from cards_deck.inference.gates._likelihood import worst_temperatures
from cards_deck.inference.gates._observed import Observed
from cards_deck.inference.gates.hedged_cascade import HedgedCascadeGate
from cards_deck.spectrum import Floats


@GATES.register("guarded_cascade")
@dataclass(frozen=True, eq=False)
class GuardedCascadeGate(HedgedCascadeGate):
    """As `hedged_cascade`, but each card's temperature is that of the validation cell in which it is too sure the most,
    and answers are pooled at these temperatures too.

    A card that errs with confidence under shifts it was not trained for then neither ends the cascade by itself nor
    outvotes cards that are right there, also where the spectrum names it by mistake.
    """

    @property
    def temperatures(self) -> Floats:
        """See `Gate`: those by which it asks."""
        return self.config.arrays["temperatures"]

    @classmethod
    def calibration(cls, observed: Observed) -> Floats:
        """See `AskingGate`."""
        return worst_temperatures(observed)
