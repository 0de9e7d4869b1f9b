"""The nearest reference spectrum decides."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np

from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import GATES, BaseGate, Known, Reading, Routing, equal_row
from cards_deck.inference.gates._fit import best, tried
from cards_deck.inference.gates._observed import Observed, Score
from cards_deck.spectrum import Floats

MARGINS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 0.8, 1.2)


@GATES.register("spectral")
@dataclass(frozen=True, eq=False)
class SpectralGate(BaseGate):
    """Routes to the cards of the augmentation whose reference spectrum is nearest (CARD-Decks, Diffenderfer et al.,
    NeurIPS 2021, for one image at a time and with log-ratio distances).

    The first `places` cards of the nearest augmentation, in deck order, share the answer equally (0: `max_cards`).
    Where the relative margin (d2 - d1) / d1 is below `margin`, the first card of the second nearest augmentation joins
    with an equal weight, in the last place if `max_cards` leaves no other; never with `max_cards` 1. For an unknown
    image all `max_cards` places are taken: what is left free goes to the cards of the second, then to others.
    """

    PARAMETERS: ClassVar[Mapping[str, float]] = {"margin": 0.1, "places": 0.0}
    LARGEST: ClassVar[float] = 1e6

    _alone: Floats = field(init=False, repr=False)  # [a, k] weights where one augmentation answers
    _mixed: Floats = field(init=False, repr=False)  # [a, a, k] weights where a second one joins
    _filled: Floats = field(init=False, repr=False)  # [a, a, k] as `_alone`, and every place is taken
    _joined: Floats = field(init=False, repr=False)  # [a, a, k] as `_mixed`, and every place is taken

    def prepare(self) -> None:
        """Rows of weights for each nearest augmentation, alone and with each second one: routing is then a look-up."""
        of, most, places = self.known.cards_of(), self.config.max_cards, self.parameter("places")
        if places != int(places) or places > most:
            raise InputError(f"the gate's places must be a whole number up to its max_cards, {most}, not {places:g}")
        usual = int(places) or most
        alone = np.stack([equal_row(cards[:usual], self.cards) for cards in of])
        mixed = np.repeat(alone[:, None], len(of), axis=1)
        filled, joined = mixed.copy(), mixed.copy()
        for first, cards in enumerate(of):
            for second in range(len(of)):
                others = [*of[second], *self.known.originals]
                together = cards[:usual]
                if most > 1 and second != first:
                    together = [*cards[: min(usual, most - 1)], of[second][0]]
                    mixed[first, second] = equal_row(together, self.cards)
                filled[first, second] = equal_row([*dict.fromkeys([*cards, *others])][:most], self.cards)
                joined[first, second] = equal_row([*dict.fromkeys([*together, *others])][:most], self.cards)
        object.__setattr__(self, "_alone", alone)
        object.__setattr__(self, "_mixed", mixed)
        object.__setattr__(self, "_filled", filled)
        object.__setattr__(self, "_joined", joined)

    @classmethod
    def fit(
        cls, observed: Observed, config: GateConfig, known: Known, *, budgets: Sequence[float] = (2.0,)
    ) -> tuple[Self, ...]:
        """The places and the margin that score best within each budget; the smallest of equals."""
        found: list[tuple[Self, Score]] = []
        for places in range(1, min(config.max_cards, len(known.originals)) + 1):
            fixed = dataclasses.replace(config, parameters={"places": places})
            found += tried(lambda config: cls(config, known), fixed, "margin", MARGINS, observed)
        return tuple(best(found, most_cards) for most_cards in budgets)

    def choose(self, reading: Reading) -> Routing:
        """See `BaseGate`."""
        return self.route_distances(reading.distances)

    def route_distances(self, found: Floats) -> Routing:
        """Routing from distances [n, a]: studies of gates need no images."""
        order = np.argsort(found, axis=1, kind="stable")
        first, second = order[:, 0], order[:, min(1, found.shape[1] - 1)]
        rows = np.arange(len(found))
        nearest, next_one = found[rows, first], found[rows, second]
        unknown = self.unknown(found)
        close = next_one - nearest < self.parameter("margin") * nearest
        weights = np.where(close[:, None], self._mixed[first, second], self._alone[first])
        if unknown.any():
            full = np.where(close[:, None], self._joined[first, second], self._filled[first, second])
            weights[unknown] = full[unknown]
        return Routing(weights, found, unknown, first.astype(np.int64), weights)
