"""Choosing one number of a gate on observed rows, for several budgets at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import BaseGate
from cards_deck.inference.gates._observed import AlreadyRead, Observed, Score, read, score

G = TypeVar("G", bound=BaseGate)
Make = Callable[[GateConfig], G]
Tried = Sequence[tuple[G, Score]]

# For numbers that cards are left out by: the share of the first card's weight that another one must have.
LEAST = (0.0, 0.01, 0.02, 0.03, 0.05, 0.075, *(round(0.1 + 0.05 * step, 2) for step in range(19)))


def tried(make: Make[G], config: GateConfig, name: str, values: Sequence[float], observed: Observed) -> Tried[G]:
    """A gate for each value of its parameter `name`, with its score on these rows."""
    gates = [make(dataclasses.replace(config, parameters={**config.parameters, name: value})) for value in values]
    reading = read(gates[0], observed)
    return [(gate, score(AlreadyRead(gate, reading), observed)) for gate in gates]


def best(found: Tried[G], most_cards: float) -> G:
    """The gate that scores best at no more than `most_cards` mean cards per image.

    Of equal scores the one with fewer cards, then the first. Where all cost more, the one with the fewest cards.
    """
    return max(enumerate(found), key=lambda one: (*rank(one[1][1], most_cards), -one[0]))[1][0]


def spending(found: Tried[G], most_cards: float) -> G:
    """The gate that uses most of the budget of `most_cards` mean cards per image; of equals the first.

    For numbers that trade cards for accuracy: on the rows of a fit a value that runs fewer cards may look better by
    luck, on others it is not. Where all cost more, the one with the fewest cards.
    """

    def spent(one: tuple[int, tuple[G, Score]]) -> tuple[bool, float, int]:
        cards = round(one[1][1].cards, 9)
        within = cards <= most_cards + 1e-9
        return within, cards if within else -cards, -one[0]

    return max(enumerate(found), key=spent)[1][0]


def rank(found: Score, most_cards: float) -> tuple[bool, float, float]:
    """Sorts scores: first whether it is within the budget, then by score within it and by cards beyond it."""
    within = found.cards <= most_cards + 1e-9
    return within, round(found.score, 9) if within else 0.0, -round(found.cards, 9)
