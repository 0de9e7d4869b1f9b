"""Cards by the spectrum, weighed by how often each is right when it names the class that it names."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import GATES, Bools, Known, Routing
from cards_deck.inference.gates._fit import LEAST, best, spending, tried
from cards_deck.inference.gates._likelihood import fit_linear
from cards_deck.inference.gates._observed import Observed
from cards_deck.inference.gates._preference import PreferenceGate, spent
from cards_deck.inference.gates._profile import normalised
from cards_deck.spectrum import Floats

POWERS = (0.0, 1.0, 2.0, 4.0, 8.0)
SMOOTHING = 20.0  # images' worth of the card's own accuracy that each class starts from


@GATES.register("reliability")
@dataclass(frozen=True, eq=False)
class ReliabilityGate(PreferenceGate):
    """The `max_cards` cards that a linear function of the spectrum prefers; each weighs its preference times
    `reliability` [k, c] to the `power`: how often card k was right on validation images where it named class c (votes
    weighted by class, as in the confusion matrices of Xu, Krzyzak and Suen, IEEE SMC 1992). A card whose preference is
    below `least` of the first one's does not run."""

    PARAMETERS: ClassVar[Mapping[str, float]] = {"power": 1.0, "least": 0.0}
    LARGEST: ClassVar[float] = 100.0
    ARRAYS: ClassVar[tuple[str, ...]] = ("weights", "bias", "reliability")

    def prepare(self) -> None:
        """Check the arrays."""
        super().prepare()
        reliability = self.array("reliability", self.cards, -1)
        if (reliability <= 0).any() or (reliability > 1).any():
            raise InputError("the gate's reliability must be above 0 and at most 1")

    def first(self, preference: Floats) -> Floats:
        """See `PreferenceGate`."""
        return spent(preference, self.limit, self.parameter("least"))

    def reconsider(self, routing: Routing, logits: Floats, ran: Bools) -> Routing:
        """See `Gate`."""
        reliability = self.config.arrays["reliability"]
        if reliability.shape[1] != logits.shape[2]:
            raise InputError(f"the gate knows {reliability.shape[1]} classes, the cards answer {logits.shape[2]}")
        named = logits.argmax(axis=2)  # [k, n]
        trust = np.float32(self.parameter("power")) * np.log(np.take_along_axis(reliability, named, axis=1).T)
        scores = np.log(np.maximum(routing.weights, np.float32(1e-6))) + trust
        return dataclasses.replace(routing, weights=normalised(np.where(ran, scores, np.float32(-np.inf))))

    @classmethod
    def fit(
        cls, observed: Observed, config: GateConfig, known: Known, *, budgets: Sequence[float] = (2.0,)
    ) -> tuple[Self, ...]:
        """Preference by the mixture's likelihood, reliability by counting, `least` so that each budget is spent, then
        `power` by the score."""
        weights, bias = fit_linear(observed)
        arrays = {"weights": weights, "bias": bias, "reliability": _reliability(observed)}
        fitted = dataclasses.replace(config, parameters={}, arrays=arrays)
        found = tried(lambda config: cls(config, known), fitted, "least", LEAST, observed)
        gates: dict[float, Self] = {}
        for most_cards in budgets:
            one = spending(found, most_cards).config
            powers = tried(lambda config: cls(config, known), one, "power", POWERS, observed)
            gates[most_cards] = best(powers, math.inf)
        return tuple(gates[most_cards] for most_cards in budgets)


def _reliability(observed: Observed) -> Floats:
    """float32 [k, c]: weighted share of right answers among those that name the class, drawn towards the card's own."""
    cards, _, classes = observed.logits.shape
    found = np.empty((cards, classes))
    share = observed.share * len(observed.labels)
    for card, logits in enumerate(observed.logits):
        named = logits.argmax(axis=1)
        right = named == observed.labels
        prior = np.clip(observed.share @ right, 0.01, 1)
        of_class = np.bincount(named, share * right, classes) + SMOOTHING * prior
        found[card] = of_class / (np.bincount(named, share, classes) + SMOOTHING)
    return np.clip(found, 1e-3, 1).astype(np.float32)
