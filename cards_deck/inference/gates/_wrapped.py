"""Gates around another gate, some of whose answers are given from outside."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import Bools, Gate, Routing
from cards_deck.spectrum import Floats


@dataclass(frozen=True, eq=False)
class Wrapped:
    """Another gate, some of whose answers are given from outside."""

    gate: Gate

    @property
    def config(self) -> GateConfig:
        """The gate's."""
        return self.gate.config

    @property
    def limit(self) -> int:
        """The gate's."""
        return self.gate.limit

    def route(self, spectra: Floats) -> Routing:
        """The gate's."""
        return self.gate.route(spectra)

    def route_window(self, spectra: Floats) -> Routing:
        """The gate's."""
        return self.gate.route_window(spectra)

    def reconsider(self, routing: Routing, logits: Floats, ran: Bools) -> Routing:
        """The gate's."""
        return self.gate.reconsider(routing, logits, ran)

    def sureness(self, weights: Floats, logits: Floats) -> Floats:
        """The gate's."""
        return self.gate.sureness(weights, logits)

    def needed(self, ran: Bools) -> NDArray[np.float64]:
        """The gate's."""
        return self.gate.needed(ran)


@dataclass(frozen=True, eq=False)
class Fixed(Wrapped):
    """Weights [n, k] in the place of the gate's, with everything else that it says."""

    weights: Floats

    @property
    def limit(self) -> int:
        """All cards: whoever gives weights knows what they cost."""
        return int(self.weights.shape[1])

    def route(self, spectra: Floats) -> Routing:
        """The given weights."""
        return dataclasses.replace(self.gate.route(spectra), weights=self.weights)

    def reconsider(self, routing: Routing, logits: Floats, ran: Bools) -> Routing:
        """Nothing to reconsider."""
        return routing

    def sureness(self, weights: Floats, logits: Floats) -> Floats:
        """Nothing is asked by it."""
        return np.full(len(weights), -1, np.float32)

    def needed(self, ran: Bools) -> NDArray[np.float64]:
        """Nothing is asked by it."""
        return np.full(len(ran), -1.0)
