"""Confidence cascade: one card answers, the next one joins only where the answer is not sure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import GATES, BaseGate, Bools, Known, Reading, Routing, equal_row
from cards_deck.inference.gates._confidence import SURENESS, pooled, spending_thresholds, unsure
from cards_deck.inference.gates._likelihood import calibrated_right, fit_temperatures
from cards_deck.inference.gates._observed import Doubles, Observed
from cards_deck.spectrum import Floats

SAME_COST = 1.1  # cards within this ratio of the cheapest left cost the same


@GATES.register("cascade")
@dataclass(frozen=True, eq=False)
class CascadeGate(BaseGate):
    """Cards in one fixed order, the cheapest first: while the mean of their calibrated probabilities reaches
    `threshold` for no class, the next one joins with an equal share, up to `max_cards` (cascades of ensembles: Wang et
    al., "Wisdom of Committees", ICLR 2022, section 4). Reads the spectrum only to know the unknown: all places at once.

    `order`: indices of cards; `temperatures` [k] by which each card's logits are divided to judge how sure it is.
    """

    PARAMETERS: ClassVar[Mapping[str, float]] = {"threshold": 0.9}
    ARRAYS: ClassVar[tuple[str, ...]] = ("order", "temperatures")

    _rows: Floats = field(init=False, repr=False)  # [most + 1, k] weights after so many cards

    def prepare(self) -> None:
        """Check the arrays, and make the weights after each step."""
        order = self.array("order", -1)
        cards = order.astype(np.int64)
        if not len(cards) or (cards != order).any() or len(set(cards.tolist())) != len(cards):
            raise InputError("the gate's order must be distinct whole numbers, at least one")
        if cards.min() < 0 or cards.max() >= self.cards:
            raise InputError(f"the gate's order must name cards 0 to {self.cards - 1}")
        if (self.array("temperatures", self.cards) <= 0).any():
            raise InputError("the gate's temperatures must be above 0")
        steps = [equal_row(cards[: max(step, 1)].tolist(), self.cards) for step in range(self.limit + 1)]
        object.__setattr__(self, "_rows", np.stack(steps))

    @property
    def limit(self) -> int:
        """No more than the order names."""
        return min(self.config.max_cards, len(self.config.arrays["order"]))

    def preference(self, spectra: Floats) -> Floats:
        """The spectrum says nothing: equal shares of the first `limit` cards."""
        return np.tile(self._rows[self.limit], (len(spectra), 1))

    def choose(self, reading: Reading) -> Routing:
        """See `BaseGate`."""
        found = reading.distances
        unknown = self.unknown(found)
        weights = self._rows[np.where(unknown, self.limit, 1)]
        return Routing(weights, found, unknown, np.full(len(found), -1, np.int64), reading.preference)

    def reconsider(self, routing: Routing, logits: Floats, ran: Bools) -> Routing:
        """See `Gate`."""
        steps = ran.sum(axis=1)
        waiting = steps < self.limit
        if not waiting.any():
            return routing
        waiting &= unsure(self.sureness(routing.weights, logits), self.needed(ran))
        if not waiting.any():
            return routing
        weights = np.where(waiting[:, None], self._rows[np.minimum(steps + 1, self.limit)], routing.weights)
        return dataclasses.replace(routing, weights=weights)

    def sureness(self, weights: Floats, logits: Floats) -> Floats:
        """See `Gate`."""
        return SURENESS[self.SURE_BY](pooled(logits, weights, self.config.arrays["temperatures"]))

    def needed(self, ran: Bools) -> Doubles:
        """See `Gate`: the same, whoever ran."""
        return np.full(len(ran), self.parameter("threshold"))

    @classmethod
    def fit(
        cls,
        observed: Observed,
        config: GateConfig,
        known: Known,
        *,
        budgets: Sequence[float] = (2.0,),
        costs: Sequence[float] | None = None,
    ) -> tuple[Self, ...]:
        """The order by cost, and among cards of the same cost (`costs` None: all) greedily by the likelihood of their
        average; then the threshold that spends each budget."""
        order = _greedy(observed, [1.0] * len(known.augmentations) if costs is None else costs)
        arrays = {"order": np.array(order, np.float32), "temperatures": fit_temperatures(observed)}
        fitted = dataclasses.replace(config, parameters={}, arrays=arrays)
        return spending_thresholds(lambda config: cls(config, known), fitted, observed, budgets)


def _greedy(observed: Observed, costs: Sequence[float]) -> list[int]:
    right, share = calibrated_right(observed), observed.share
    order: list[int] = []
    left = list(range(right.shape[1]))
    total: NDArray[np.float64] = np.zeros(len(right))
    while left:
        cheapest = min(costs[card] for card in left)
        likely = {
            card: float(share @ np.log(total + right[:, card])) for card in left if costs[card] <= SAME_COST * cheapest
        }
        order.append(max(likely, key=lambda card: (likely[card], -card)))
        total += right[:, order[-1]]
        left.remove(order[-1])
    return order
