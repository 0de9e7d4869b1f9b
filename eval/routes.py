"""Every way of using a deck side by side, on the same logits: the gate, its baselines, and the bounds.

A route gives each image weights over the cards and costs a number of card passes; its answer is the weighted mean of
the cards' probabilities, as the served predictor forms it. One temperature per route is fitted after pooling, on
validation images only.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck.deck import Deck
from cards_deck.inference.gates import Candidate, Chosen
from cards_deck.inference.predictor import combine
from cards_deck.spectrum import Floats
from eval.alternatives import KINDS, MOST_CARDS, fit_gates
from eval.measure import CellAnswers, labels_of
from eval.metrics import fit_temperature, tempered
from eval.routing import (
    BestCard,
    CellOracle,
    Classifier,
    Confidence,
    Gated,
    Oracle,
    OtherGate,
    RandomCards,
    Route,
    Uniform,
    card_temperatures,
    train_classifier,
)
from eval.validation import Validation

FITTED = "gate_"  # before the name of a kind: the route of a gate that was fitted here
AT = "@"  # between that and a smaller budget of cards per image
BASELINES = ("uniform", "best_card", "random_card", "random_cards", "confidence", "classifier")
BOUNDS = ("cell_oracle", "oracle")  # they look at the labels
ROUTES = ("gated", *BASELINES, *(f"{FITTED}{kind}" for kind in KINDS), *BOUNDS)


@dataclass(frozen=True, eq=False)
class Answer:
    """A route's answer to a cell: pooled `probabilities` float32 [n, c], and `cost` float64 [n] in card passes."""

    probabilities: Floats
    cost: NDArray[np.float64]
    temperature: float

    @functools.cached_property
    def tempered(self) -> NDArray[np.float64]:
        """The probabilities at the route's temperature, [n, c]."""
        return tempered(self.probabilities, self.temperature)


@dataclass(frozen=True, eq=False)
class Routes:
    """The routes of one deck in the order of reports, each with its temperature (1 where there is no validation), and
    the kinds of gates that were fitted on the validation images, None where there are none."""

    members: Mapping[str, Route]
    temperatures: Mapping[str, float]
    chosen: Chosen | None = None

    @property
    def systems(self) -> tuple[str, ...]:
        """The routes that are compared: all but the bounds and the gates of smaller budgets."""
        return tuple(name for name in self.members if name not in BOUNDS and AT not in name)

    @property
    def studied(self) -> tuple[str, ...]:
        """The systems whose probabilities are studied: without the gates that the deck does not have."""
        return tuple(name for name in self.systems if name not in self.fitted)

    @property
    def fitted(self) -> tuple[str, ...]:
        """The gates that were fitted here, for the whole budget."""
        return tuple(name for name in self.systems if name.startswith(FITTED))

    def as_dict(self, deck: Deck) -> dict[str, Any]:
        """JSON form of what validation images decided: temperatures, and the classifier's classes and cards."""
        found, described = self.members.get("classifier"), None
        if isinstance(found, Classifier):
            cards = [deck.cards[place].id for place in found.cards]
            described = {"accuracy": round(found.accuracy, 6), "classes": list(found.classes), "cards": cards}
        return {"temperature": {name: round(t, 6) for name, t in self.temperatures.items()}, "classifier": described}

    def answer(self, name: str, cell: CellAnswers) -> Answer:
        """What the route `name` says to `cell`."""
        routed = self.members[name].route(cell)
        return Answer(combine(cell.logits, routed.weights), routed.cost, self.temperatures.get(name, 1.0))

    def answers(self, cell: CellAnswers) -> dict[str, Answer]:
        """Every route's answer; without the bounds where the cell has no labels."""
        names = self.systems if cell.labels is None else tuple(self.members)
        return {name: self.answer(name, cell) for name in names}


def fit_routes(deck: Deck, best_card: int, validation: Validation | None, *, seed: int, threads: int = 1) -> Routes:
    """All routes over the deck's cards, with what validation images decide: temperatures, the classifier, and a gate of
    each kind. Without validation images every temperature is 1 and there are neither.

    The plain average, random cards and the most confident card are over the cards that are not averages of others, nor
    second looks.
    """
    among, cards = deck.originals, len(deck.cards)
    members: dict[str, Route] = {
        "gated": Gated(),
        "uniform": Uniform(among),
        "best_card": BestCard(best_card),
        "random_card": RandomCards(seed, among),
        "random_cards": RandomCards(seed, among, round(MOST_CARDS)),
    }
    bounds: dict[str, Route] = {"cell_oracle": CellOracle(), "oracle": Oracle()}
    if validation is None:
        return Routes(members | {"confidence": Confidence((1.0,) * cards, among)} | bounds, {})
    cells = validation.answers
    with ThreadPoolExecutor(threads) as pool:
        classifier = pool.submit(train_classifier, [name for name, _ in validation.cells], cells)
        chosen = pool.submit(fit_gates, deck, validation)
        members["confidence"] = Confidence(pool.submit(card_temperatures, cells).result(), among)
        members["classifier"] = classifier.result()
        members |= {name: OtherGate(one.gate) for name, one in fitted_gates(chosen.result()).items()}
        untempered = Routes(members | bounds, {})
        fitted = pool.map(lambda name: _temperature(untempered, name, cells), untempered.systems)
        temperatures = dict(zip(untempered.systems, fitted, strict=True))
    return Routes(members | bounds, temperatures, chosen.result())


def fitted_gates(chosen: Chosen) -> dict[str, Candidate]:
    """The gates that were fitted, by the names of their routes: of each kind the largest budget first."""
    return {
        f"{FITTED}{kind}{f'{AT}{one.budget:g}' if one is not found[-1] else ''}": one
        for kind in chosen.candidates
        for found in [chosen.of_budgets(kind)]
        for one in reversed(found)
    }


def _temperature(routes: Routes, name: str, cells: Sequence[CellAnswers]) -> float:
    labels = np.concatenate([labels_of(cell) for cell in cells])
    return fit_temperature(np.concatenate([routes.answer(name, cell).probabilities for cell in cells]), labels)
