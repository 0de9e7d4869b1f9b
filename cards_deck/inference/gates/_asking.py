"""What the cascades share whose cards the spectrum names: one answers, the next joins where that is not sure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import Bools, Known, Routing, largest, shares
from cards_deck.inference.gates._confidence import SURENESS, pooled, spending_thresholds, unsure
from cards_deck.inference.gates._likelihood import fit_linear, fit_temperatures
from cards_deck.inference.gates._observed import Doubles, Observed
from cards_deck.inference.gates._preference import PreferenceGate
from cards_deck.spectrum import Floats


@dataclass(frozen=True, eq=False)
class AskingGate(PreferenceGate):
    """The preferred card answers alone; while the mean of the calibrated probabilities reaches `threshold` for no
    class, the card that `following` names joins with an equal share, up to `max_cards`.

    Shares are equal since the preference is learned under a few shifts: under others its order still helps, while its
    proportions cost more than they bring (on validation corruptions left out of the fit).
    """

    PARAMETERS: ClassVar[Mapping[str, float]] = {"threshold": 0.9}
    ARRAYS: ClassVar[tuple[str, ...]] = ("weights", "bias", "temperatures")

    def prepare(self) -> None:
        """Check the arrays."""
        super().prepare()
        if (self.array("temperatures", self.cards) <= 0).any():
            raise InputError("the gate's temperatures must be above 0")

    def following(self, preference: Floats, ran: Bools) -> Bools:
        """bool [n, k], one per row: the card to ask after those in `ran` [n, k], of which some are still missing."""
        raise NotImplementedError

    def first(self, preference: Floats) -> Floats:
        """See `PreferenceGate`: the preferred card alone."""
        return largest(preference, 1).astype(np.float32)

    def widest(self, preference: Floats) -> Floats:
        """See `PreferenceGate`: those that would be asked."""
        asked = self.first(preference) > 0
        for _ in range(min(self.limit, self.cards) - 1):
            asked |= self.following(preference, asked)
        return self.believing(asked)

    def believing(self, ran: Bools) -> Floats:
        """Weights [n, k] of the cards in `ran` [n, k] where it is asked how sure they are, and where the spectrum is
        unknown: equal shares."""
        return shares(ran.astype(np.float32))

    def sharing(self, preference: Floats, ran: Bools) -> Floats:
        """Weights [n, k] of the answer of the cards in `ran` [n, k], where others joined the first: those by which it
        is asked how sure they are, whatever the preference [n, k]."""
        return self.believing(ran)

    def hearing(self, preference: Floats, logits: Floats, ran: Bools) -> Floats:
        """As `sharing`, once the cards in `ran` [n, k] have answered with logits [k, n, c]: as before, unless the gate
        `hears` them."""
        return self.sharing(preference, ran)

    def reconsider(self, routing: Routing, logits: Floats, ran: Bools) -> Routing:
        """See `Gate`."""
        waiting = ran.sum(axis=1) < min(self.limit, self.cards)
        if waiting.any():
            waiting &= unsure(self.sureness(routing.weights, logits), self.needed(ran))
        heard = self.hears(ran) & ~waiting & ~routing.routed_unknown
        if not (waiting | heard).any():
            return routing
        weights = routing.weights.copy()
        if heard.any():
            weights[heard] = self.hearing(routing.preference[heard], logits[:, heard], ran[heard])
        if waiting.any():
            joined = ran[waiting] | self.following(routing.preference[waiting], ran[waiting])
            weights[waiting] = self.sharing(routing.preference[waiting], joined)
        return dataclasses.replace(routing, weights=weights)

    def sureness(self, weights: Floats, logits: Floats) -> Floats:
        """See `Gate`."""
        believed = self.believing(weights > 0)
        return SURENESS[self.SURE_BY](pooled(logits, believed, self.config.arrays["temperatures"]))

    def needed(self, ran: Bools) -> Doubles:
        """See `Gate`: the same, whoever ran."""
        return np.full(len(ran), self.parameter("threshold"))

    @classmethod
    def fit(
        cls, observed: Observed, config: GateConfig, known: Known, *, budgets: Sequence[float] = (2.0,)
    ) -> tuple[Self, ...]:
        """Preference and temperatures by their likelihood, then the threshold that spends each budget."""
        weights, bias = fit_linear(observed)
        arrays = {"weights": weights, "bias": bias, "temperatures": fit_temperatures(observed)}
        fitted = dataclasses.replace(config, parameters={}, arrays=arrays)
        return spending_thresholds(lambda config: cls(config, known), fitted, observed, budgets)
