"""What each way of using a deck answers, image by image: gated, uniform, one card, and the two oracles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cards_deck.inference.gate import Routing
from cards_deck.inference.predictor import combine
from eval.metrics import Bools, best_card_per_cell, is_correct

ROUTES = ("gated", "uniform", "best_card", "cell_oracle", "oracle")

Floats32 = NDArray[np.float32]
Ints = NDArray[np.integer]


@dataclass(frozen=True)
class Outcome:
    """One cell, image by image. Shapes: k cards, n images."""

    cards: Bools  # [k, n] is that card right?
    gated: Bools  # [n]
    uniform: Bools  # [n]
    cards_used: Ints  # [n] cards the gate runs
    choice: Ints  # [n] nearest augmentation, -1 where the gate does not choose
    unknown: Bools  # [n]
    card_weight: NDArray[np.float64]  # [k] mean weight the gate gives each card


def outcome(logits: Floats32, routing: Routing, labels: Ints) -> Outcome:
    """`logits` [k, n, classes] of every card, the gate's routing of the n images, `labels` [n]."""
    k, n = logits.shape[:2]
    even = np.full((n, k), 1 / k, dtype=np.float32)
    return Outcome(
        cards=is_correct(logits, labels),
        gated=is_correct(combine(logits, routing.weights), labels),
        uniform=is_correct(combine(logits, even), labels),
        cards_used=np.count_nonzero(routing.weights, axis=1),
        choice=routing.choice,
        unknown=routing.unknown,
        card_weight=routing.weights.mean(axis=0, dtype=np.float64),
    )


def correct_by_route(outcomes: list[Outcome], best_card: int) -> dict[str, Bools]:
    """Route -> bool [cells, n], for the cells in `outcomes`.

    `cell_oracle` takes the card with the highest accuracy of each cell, known only in hindsight; `oracle` counts an
    image as right where any card is right. Both are upper bounds, not systems.
    """
    cards = np.stack([cell.cards for cell in outcomes])
    best = best_card_per_cell(cards)
    return {
        "gated": np.stack([cell.gated for cell in outcomes]),
        "uniform": np.stack([cell.uniform for cell in outcomes]),
        "best_card": cards[:, best_card],
        "cell_oracle": np.take_along_axis(cards, best[:, None, None], axis=1)[:, 0],
        "oracle": np.asarray(cards.any(axis=1)),
    }


def cards_per_image(outcomes: list[Outcome]) -> dict[str, float]:
    """Route -> mean number of cards run per image, over the cells in `outcomes`."""
    k = float(len(outcomes[0].cards))
    gated = float(np.mean([cell.cards_used.mean() for cell in outcomes]))
    return {"gated": gated, "uniform": k, "best_card": 1.0, "cell_oracle": 1.0, "oracle": k}
