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
from cards_deck.inference.predictor import combine
from cards_deck.spectrum import Floats
from eval.measure import CellAnswers, labels_of
from eval.metrics import fit_temperature, tempered
from eval.routing import (
    BestCard,
    CellOracle,
    Confidence,
    Gated,
    Oracle,
    RandomCard,
    Route,
    Router,
    Uniform,
    card_temperatures,
    train_router,
)
from eval.validation import Validation

ROUTES = ("gated", "uniform", "best_card", "random_card", "confidence", "router", "cell_oracle", "oracle")
BOUNDS = ("cell_oracle", "oracle")  # they look at the labels


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
    """The routes of one deck in the order of reports, each with its temperature (1 where there is no validation)."""

    members: Mapping[str, Route]
    temperatures: Mapping[str, float]

    @property
    def systems(self) -> tuple[str, ...]:
        """The routes that could be served: all but the bounds."""
        return tuple(name for name in self.members if name not in BOUNDS)

    @property
    def router(self) -> Router | None:
        """The learned router, where validation images could train one."""
        found = self.members.get("router")
        return found if isinstance(found, Router) else None

    def as_dict(self, deck: Deck) -> dict[str, Any]:
        """JSON form of what validation images decided: temperatures, and the router's classes and cards."""
        router = self.router
        described = None
        if router is not None:
            cards = [deck.cards[place].id for place in router.cards]
            described = {"accuracy": round(router.accuracy, 6), "classes": list(router.classes), "cards": cards}
        return {"temperature": {name: round(t, 6) for name, t in self.temperatures.items()}, "router": described}

    def answer(self, name: str, cell: CellAnswers) -> Answer:
        """What the route `name` says to `cell`."""
        routed = self.members[name].route(cell)
        return Answer(combine(cell.logits, routed.weights), routed.cost, self.temperatures.get(name, 1.0))

    def answers(self, cell: CellAnswers) -> dict[str, Answer]:
        """Every route's answer; without the bounds where the cell has no labels."""
        names = self.systems if cell.labels is None else tuple(self.members)
        return {name: self.answer(name, cell) for name in names}


def fit_routes(cards: int, best_card: int, validation: Validation | None, *, seed: int, threads: int = 1) -> Routes:
    """All routes over `cards` cards, with what validation images decide: temperatures and the router.

    Without validation images every temperature is 1 and there is no router.
    """
    members: dict[str, Route] = {
        "gated": Gated(),
        "uniform": Uniform(),
        "best_card": BestCard(best_card),
        "random_card": RandomCard(seed),
    }
    bounds: dict[str, Route] = {"cell_oracle": CellOracle(), "oracle": Oracle()}
    if validation is None:
        return Routes(members | {"confidence": Confidence((1.0,) * cards)} | bounds, {})
    cells = validation.answers
    with ThreadPoolExecutor(threads) as pool:
        router = pool.submit(train_router, [name for name, _ in validation.cells], cells)
        members["confidence"] = Confidence(pool.submit(card_temperatures, cells).result())
        members["router"] = router.result()
        untempered = Routes(members | bounds, {})
        fitted = pool.map(lambda name: _temperature(untempered, name, cells), untempered.systems)
        return Routes(members | bounds, dict(zip(untempered.systems, fitted, strict=True)))


def _temperature(routes: Routes, name: str, cells: Sequence[CellAnswers]) -> float:
    labels = np.concatenate([labels_of(cell) for cell in cells])
    return fit_temperature(np.concatenate([routes.answer(name, cell).probabilities for cell in cells]), labels)
