"""The plain average of all cards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cards_deck.inference.gates._base import GATES, BaseGate, Routing, equal_row
from cards_deck.spectrum import Floats


@GATES.register("uniform")
@dataclass(frozen=True, eq=False)
class UniformGate(BaseGate):
    """Every card that is not an average of others answers every image with the same weight (deep ensembles,
    Lakshminarayanan et al., NeurIPS 2017). `max_cards` does not bind it: it is the whole deck."""

    @property
    def limit(self) -> int:
        """All of them."""
        return len(self.known.originals)

    def route(self, spectra: Floats) -> Routing:
        """See `Gate`."""
        found = self.distances(spectra)
        weights = np.tile(equal_row(list(self.known.originals), self.cards), (len(spectra), 1))
        choice = np.full(len(spectra), -1, np.int64)
        return Routing(weights, found, self.known.unknown(found, self.config), choice, weights)
