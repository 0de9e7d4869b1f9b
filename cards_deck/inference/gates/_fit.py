"""Choosing one number of a gate on observed rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import BaseGate
from cards_deck.inference.gates._observed import AlreadyRead, Observed, Score, read, score

G = TypeVar("G", bound=BaseGate)
Make = Callable[[GateConfig], G]


def best_value(
    make: Make[G], config: GateConfig, name: str, values: Sequence[float], observed: Observed, most_cards: float
) -> G:
    """The gate with the value that scores best on these rows at no more than `most_cards` mean cards per image.

    Of equal scores the one with fewer cards, then the first. Where every value costs more, the one with the fewest.
    """
    gates, scores = _tried(make, config, name, values, observed)
    return gates[max(range(len(gates)), key=lambda place: (*rank(scores[place], most_cards), -place))]


def spending_value(
    make: Make[G], config: GateConfig, name: str, values: Sequence[float], observed: Observed, most_cards: float
) -> G:
    """The gate with the value that uses most of the budget of `most_cards` mean cards per image; of equals the first.

    For numbers that trade cards for accuracy: on the rows of a fit a value that runs fewer cards may look better by
    luck, on others it is not. Where every value costs more, the one with the fewest cards.
    """
    gates, scores = _tried(make, config, name, values, observed)

    def spent(place: int) -> tuple[bool, float, int]:
        cards = round(scores[place].cards, 9)
        within = cards <= most_cards + 1e-9
        return within, cards if within else -cards, -place

    return gates[max(range(len(gates)), key=spent)]


def _tried(
    make: Make[G], config: GateConfig, name: str, values: Sequence[float], observed: Observed
) -> tuple[list[G], list[Score]]:
    gates = [make(dataclasses.replace(config, parameters={**config.parameters, name: value})) for value in values]
    reading = read(gates[0], observed)
    return gates, [score(AlreadyRead(gate, reading), observed) for gate in gates]


def rank(found: Score, most_cards: float) -> tuple[bool, float, float]:
    """Sorts scores: first whether it is within the budget, then by score within it and by cards beyond it."""
    within = found.cards <= most_cards + 1e-9
    return within, round(found.score, 9) if within else 0.0, -round(found.cards, 9)
