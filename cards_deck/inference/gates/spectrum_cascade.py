"""A cascade whose order is the spectrum's: the preferred card answers, the next one joins where that is not sure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import GATES, Bools, Known, Routing, largest, shares
from cards_deck.inference.gates._confidence import pooled, spending_thresholds, unsure
from cards_deck.inference.gates._likelihood import fit_linear, fit_temperatures
from cards_deck.inference.gates._observed import Observed
from cards_deck.inference.gates._preference import PreferenceGate
from cards_deck.spectrum import Floats


@GATES.register("spectrum_cascade")
@dataclass(frozen=True, eq=False)
class SpectrumCascadeGate(PreferenceGate):
    """Cards in the order in which a linear function of the spectrum prefers them, in its proportions: while their
    calibrated probabilities reach `threshold` for no class, the next one joins, up to `max_cards`."""

    PARAMETERS: ClassVar[Mapping[str, float]] = {"threshold": 0.9}
    ARRAYS: ClassVar[tuple[str, ...]] = ("weights", "bias", "temperatures")

    def prepare(self) -> None:
        """Check the arrays."""
        super().prepare()
        if (self.array("temperatures", self.cards) <= 0).any():
            raise InputError("the gate's temperatures must be above 0")

    def first(self, preference: Floats) -> Floats:
        """See `PreferenceGate`: the preferred card alone."""
        return largest(preference, 1).astype(np.float32)

    def reconsider(self, routing: Routing, logits: Floats, ran: Bools) -> Routing:
        """See `Gate`."""
        steps = ran.sum(axis=1)
        waiting = steps < min(self.limit, self.cards)
        if not waiting.any():
            return routing
        waiting &= unsure(self.sureness(routing.weights, logits), self.parameter("threshold"))
        if not waiting.any():
            return routing
        joined = ran | largest(np.where(ran, -1, routing.preference), 1)
        # Not a share of exactly 0: the card that joins has to run.
        weights = shares(np.where(joined, np.maximum(routing.preference, np.float32(1e-6)), np.float32(0)))
        return dataclasses.replace(routing, weights=np.where(waiting[:, None], weights, routing.weights))

    def sureness(self, weights: Floats, logits: Floats) -> Floats:
        """See `Gate`."""
        return np.asarray(pooled(logits, weights, self.config.arrays["temperatures"]).max(axis=1), np.float32)

    @classmethod
    def fit(
        cls, observed: Observed, config: GateConfig, known: Known, *, budgets: Sequence[float] = (2.0,)
    ) -> tuple[Self, ...]:
        """Preference and temperatures by their likelihood, then the threshold that spends each budget."""
        weights, bias = fit_linear(observed)
        arrays = {"weights": weights, "bias": bias, "temperatures": fit_temperatures(observed)}
        fitted = dataclasses.replace(config, parameters={}, arrays=arrays)
        return spending_thresholds(lambda config: cls(config, known), fitted, observed, budgets)
