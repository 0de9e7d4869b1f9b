"""A small learned router: a linear function of the spectrum weighs all cards, averages of cards included."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import GATES, Known
from cards_deck.inference.gates._fit import spending_value
from cards_deck.inference.gates._likelihood import fit_linear
from cards_deck.inference.gates._observed import Observed
from cards_deck.inference.gates._preference import PreferenceGate, spent
from cards_deck.spectrum import Floats

LEAST = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@GATES.register("router")
@dataclass(frozen=True, eq=False)
class RouterGate(PreferenceGate):
    """The `max_cards` cards that a softmax over the mean log-amplitude of each ring weighs most, in their proportions
    (a mixture of experts with a linear gate, Jacobs et al., Neural Computation 1991). A card whose weight is below
    `least` of the first one's does not run."""

    PARAMETERS: ClassVar[Mapping[str, float]] = {"least": 0.0}

    def first(self, preference: Floats) -> Floats:
        """See `PreferenceGate`."""
        return spent(preference, self.limit, self.parameter("least"))

    @classmethod
    def fit(cls, observed: Observed, config: GateConfig, known: Known, *, most_cards: float = 2.0) -> Self:
        """Weights by the mixture's likelihood; `least` so that `most_cards` cards per image are spent."""
        weights, bias = fit_linear(observed)
        fitted = dataclasses.replace(config, parameters={}, arrays={"weights": weights, "bias": bias})
        return spending_value(lambda found: cls(found, known), fitted, "least", LEAST, observed, most_cards)
