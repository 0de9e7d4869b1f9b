"""The card that the spectrum prefers, and the next ones where the answer is not sure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.inference.gates._asking import AskingGate
from cards_deck.inference.gates._base import GATES, Bools, largest
from cards_deck.spectrum import Floats


@GATES.register("spectrum_cascade")
@dataclass(frozen=True, eq=False)
class SpectrumCascadeGate(AskingGate):
    """Cards in the order in which a linear function of the spectrum prefers them, as many as the answer needs to be
    sure: see `AskingGate`."""

    def following(self, preference: Floats, ran: Bools) -> Bools:
        """See `AskingGate`: the most preferred one that is left."""
        return largest(np.where(ran, np.float32(-1), preference), 1)
