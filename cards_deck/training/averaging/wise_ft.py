"""WiSE-FT: the best weights on the line between a card and one fine-tuned from it (Wortsman et al., CVPR 2022).

The published code takes the middle by default; here alpha is chosen on validation images, clean and corrupted, and the
same measurements give the barrier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cards_deck.card import Card
from cards_deck.errors import InputError
from cards_deck.inference.gates import CLEAN
from cards_deck.training.averaging.average import Statistics, check_cards
from cards_deck.training.averaging.barrier import Barrier, at
from cards_deck.training.averaging.batch_norm import AugmentedImages
from cards_deck.training.averaging.judge import Judge, score

ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Sweep:
    """The line between two cards: alphas from 0 to 1, the score and the clean error at each."""

    alphas: tuple[float, ...]
    scores: tuple[float, ...]
    path: Barrier

    @property
    def best(self) -> tuple[float, float]:
        """(alpha, score) of the best point strictly between the cards; of equals the one nearest the middle."""
        inner = list(zip(self.alphas, self.scores, strict=True))[1:-1]
        return max(inner, key=lambda point: (point[1], -abs(point[0] - 0.5)))

    def score_at(self, alpha: float) -> float:
        """The score at one of the alphas."""
        return self.scores[self.alphas.index(alpha)]


def sweep(
    one: Card,
    other: Card,
    judge: Judge,
    images: AugmentedImages,
    *,
    alphas: Sequence[float] = ALPHAS,
    statistics: Statistics = "recomputed",
    union: bool = False,
) -> Sweep:
    """Measure the cards at `alphas`, all in (0, 1), and at both ends."""
    check_cards((one, other), union)
    inner = sorted(set(alphas))
    if not inner or inner[0] <= 0 or inner[-1] >= 1:
        raise InputError(f"alphas must lie between 0 and 1, got {', '.join(map(str, alphas))}")
    line = (0.0, *inner, 1.0)
    found = [judge.accuracies(at(one, other, alpha, images, statistics=statistics, union=union)) for alpha in line]
    path = Barrier(line, tuple(1 - accuracies[CLEAN] for accuracies in found))
    return Sweep(line, tuple(score(accuracies) for accuracies in found), path)
