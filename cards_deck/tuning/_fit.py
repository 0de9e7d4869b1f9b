"""The gate that agrees best with the plain average of all cards, at no more cards than allowed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from cards_deck.deck import Deck
from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates import GATES, Gate, Known, Observed, build_gate, check_budget, score
from cards_deck.inference.gates._risk import RISKS
from cards_deck.inference.gates.reliability import POWERS
from cards_deck.references import References
from cards_deck.tuning._references import refitted

WORTH = 0.01  # of agreement
VALUES = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.99)
MARGINS = (1.2,)
PLACES = tuple(float(places) for places in range(1, 9))
# Ratios, exponents and whole numbers; all else is a share.
BEYOND = {"margin": MARGINS, "power": POWERS, "places": PLACES, "risk": RISKS}


@dataclass(frozen=True, eq=False)
class Candidate:
    """References by the `name` of how they were made, and the gate with them."""

    name: str
    references: References
    gate: Gate


def fit(deck: Deck, observed: Observed, most_cards: float | None) -> Candidate:
    """The references of these images with the gate's best scalars; the deck's spectra with new thresholds where those
    agree better by more than `WORTH`, since around spectra of other images nearly everything would have to be known.

    Rows carry the labels of the plain average; `most_cards` is the mean number of cards per image that may run (None:
    as many as the deck's gate runs on these rows).
    """
    if most_cards is not None:
        check_budget(most_cards)
    known = Known.of(deck)
    now = build_gate(deck.gate, known)
    budget = score(now, observed).cards if most_cards is None else most_cards
    candidates = [
        Candidate(name, new, _best_scalars(deck.gate, dataclasses.replace(known, references=new), observed, budget))
        for name, new in refitted(deck.references, observed).items()
    ]
    best = candidates[0]
    for other in candidates[1:]:
        (fits, agrees, _), (affordable, agreed, _) = (_rank(c.gate, observed, budget) for c in (other, best))
        if (fits, agrees) > (affordable, agreed + WORTH):
            best = other
    return best


def _rank(gate: Gate, observed: Observed, budget: float) -> tuple[bool, float, float]:
    found = score(gate, observed)
    within = found.cards <= budget + 1e-9
    return within, round(found.score, 9) if within else 0.0, -round(found.cards, 9)


def _best_scalars(config: GateConfig, known: Known, observed: Observed, budget: float) -> Gate:
    """The gate with each scalar of its kind in turn at the value that agrees best; the present one where none does."""
    best = build_gate(config, known)
    kind = GATES[config.kind]
    for name, default in kind.PARAMETERS.items():
        if name in kind.FROM_LABELS:
            continue
        present = best.config.parameters.get(name, default)
        tried = [best]
        for value in VALUES + BEYOND.get(name, ()):
            parameters = {**best.config.parameters, name: value}
            try:
                tried.append(build_gate(dataclasses.replace(best.config, parameters=parameters), known))
            except InputError:
                continue  # outside what this kind takes
        away = [abs(gate.config.parameters.get(name, default) - present) for gate in tried]
        best = max(zip(tried, away, strict=True), key=lambda item: (*_rank(item[0], observed, budget), -item[1]))[0]
    return best
