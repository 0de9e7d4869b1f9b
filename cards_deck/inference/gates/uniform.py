"""The plain average of all cards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import GATES, BaseGate, Known, Reading, Routing
from cards_deck.inference.gates._observed import Observed


@GATES.register("uniform")
@dataclass(frozen=True, eq=False)
class UniformGate(BaseGate):
    """Every card that is not an average of others, nor a second look, answers every image with the same weight (deep
    ensembles, Lakshminarayanan et al., NeurIPS 2017). `max_cards` does not bind it: it is the whole deck."""

    @property
    def limit(self) -> int:
        """All of them."""
        return len(self.known.originals)

    @classmethod
    def fit(
        cls, observed: Observed, config: GateConfig, known: Known, *, budgets: Sequence[float] = (2.0,)
    ) -> tuple[Self, ...]:
        """Nothing to fit, whatever the budget."""
        return (cls(config, known),) * len(budgets)

    def choose(self, reading: Reading) -> Routing:
        """See `BaseGate`."""
        found, even = reading.distances, reading.preference
        choice = np.full(len(found), -1, np.int64)
        return Routing(even, found, self.unknown(found), choice, even)
