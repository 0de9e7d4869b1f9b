"""A small learned router: a linear function of the spectrum weighs all cards, averages of cards included."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import GATES, Known
from cards_deck.inference.gates._fit import LEAST, spending, tried
from cards_deck.inference.gates._likelihood import fit_linear
from cards_deck.inference.gates._observed import Observed
from cards_deck.inference.gates._preference import PreferenceGate, spent
from cards_deck.spectrum import Floats


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
    def fit(
        cls, observed: Observed, config: GateConfig, known: Known, *, budgets: Sequence[float] = (2.0,)
    ) -> tuple[Self, ...]:
        """Weights by the mixture's likelihood; `least` so that each budget is spent."""
        weights, bias = fit_linear(observed)
        fitted = dataclasses.replace(config, parameters={}, arrays={"weights": weights, "bias": bias})
        found = tried(lambda config: cls(config, known), fitted, "least", LEAST, observed)
        return tuple(spending(found, most_cards) for most_cards in budgets)
