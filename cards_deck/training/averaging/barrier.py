"""Linear mode connectivity: the error of networks on the line between two (Frankle et al., ICML 2020).

Two cards lie in one basin where the error does not rise on the way from one to the other. Only those may be averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cards_deck.card import Card
from cards_deck.errors import InputError
from cards_deck.inference.gates import CLEAN
from cards_deck.training.averaging.average import Statistics, average, check_cards, recalibrated
from cards_deck.training.averaging.batch_norm import AugmentedImages
from cards_deck.training.averaging.judge import Judge

LIMIT = 0.02  # of error: what Frankle et al. call stable lies below it (as remembered, unverified)
POINTS = 11


@dataclass(frozen=True)
class Barrier:
    """Errors in [0, 1] at `alphas`, rising from 0 (one card) to 1 (the other)."""

    alphas: tuple[float, ...]
    errors: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in zip(self.alphas, self.alphas[1:], strict=False))
        if len(self.alphas) != len(self.errors) or not rising or (self.alphas[0], self.alphas[-1]) != (0, 1):
            raise InputError(f"a path needs one error for each of 0 < ... < 1, got {self.alphas} and {self.errors}")

    @property
    def height(self) -> float:
        """Largest error above the straight line between the ends' errors; at least 0.

        The line is what two cards of different tasks would give if nothing were lost on the way (Entezari et al.,
        ICLR 2022); where the ends err alike it is their mean, the base that Frankle et al. use.
        """
        line = np.interp(self.alphas, (0, 1), (self.errors[0], self.errors[-1]))
        return float(np.max(np.array(self.errors) - line))

    @property
    def above_mean(self) -> float:
        """Largest error above the mean of the ends' errors (Frankle et al.); half the ends' difference at least."""
        return max(self.errors) - (self.errors[0] + self.errors[-1]) / 2

    @property
    def record(self) -> dict[str, Any]:
        """What a deck keeps of it."""
        return {
            "height": round(self.height, 6),
            "above_mean": round(self.above_mean, 6),
            "alphas": [round(alpha, 6) for alpha in self.alphas],
            "errors": [round(error, 6) for error in self.errors],
        }


def even_alphas(points: int = POINTS) -> tuple[float, ...]:
    """`points` values from 0 to 1, both included."""
    if points < 3:
        raise InputError(f"a path needs at least 3 points, got {points}")
    return tuple(index / (points - 1) for index in range(points))


def along(error: Callable[[float], float], alphas: Sequence[float]) -> Barrier:
    """The barrier of any function of alpha."""
    return Barrier(tuple(alphas), tuple(error(alpha) for alpha in alphas))


def at(
    one: Card,
    other: Card,
    alpha: float,
    images: AugmentedImages,
    *,
    statistics: Statistics = "recomputed",
    union: bool = False,
) -> Card:
    """The card (1 - alpha) * one + alpha * other; recomputed statistics are so everywhere, also at the ends."""
    if alpha in (0, 1):
        end = other if alpha else one
        return recalibrated(end, images) if statistics == "recomputed" else end
    return average((one, other), (1 - alpha, alpha), images, name="path", statistics=statistics, union=union)


def barrier(
    one: Card,
    other: Card,
    judge: Judge,
    images: AugmentedImages,
    *,
    alphas: Sequence[float] | None = None,
    statistics: Statistics = "recomputed",
    union: bool = False,
) -> Barrier:
    """Measure the path between two cards on the judge's clean images, at 11 points unless `alphas` says which.

    Batch-norm statistics are recomputed at each point, or the barrier of cards that lie apart would be one of
    statistics (`statistics="averaged"` shows it); ends and path are measured on the same images.
    """
    check_cards((one, other), union)
    clean = judge.clean()

    def error(alpha: float) -> float:
        return 1 - clean.accuracies(at(one, other, alpha, images, statistics=statistics, union=union))[CLEAN]

    return along(error, alphas if alphas is not None else even_alphas())


def highest(paths: Mapping[tuple[str, str], Barrier], middle: float | None) -> float:
    """The highest barrier on the `paths` between cards, by their ids, or in their `middle` (see `centre`)."""
    return max([path.height for path in paths.values()] + ([] if middle is None else [middle]))


def centre(card: Card, paths: Mapping[tuple[str, str], Barrier], judge: Judge) -> float | None:
    """How far the error of an average lies above those of its parents in its shares; None for two parents, whose path
    has it. The middle of several cards can be worse than any path between two of them."""
    if len(card.record.average_of) < 3:
        return None
    ends = {one: path.errors[0] for (one, _), path in paths.items()}
    ends |= {other: path.errors[-1] for (_, other), path in paths.items()}
    shares = zip(card.record.average_of, card.record.method["coefficients"], strict=True)
    parents = sum(float(share) * ends[parent] for parent, share in shares)
    return 1 - judge.clean().accuracies(card)[CLEAN] - parents


def record_of(paths: Mapping[tuple[str, str], Barrier], middle: float | None) -> dict[str, Any]:
    """What a deck keeps of the `paths` between the parents of an average, and of its own `middle` (see `centre`)."""
    found = [{"between": list(pair), **path.record} for pair, path in paths.items()]
    centred = {} if middle is None else {"centre": round(middle, 6)}
    return {"height": round(highest(paths, middle), 6), **centred, "paths": found}


def check_basin(name: str, height: float) -> None:
    """InputError where a barrier of this height lies between the parents of the average `name`."""
    if height > LIMIT:
        raise InputError(
            f"card {name!r}: the error rises by {100 * height:.2f} points between its parents, more than the "
            f"{100 * LIMIT:g} of cards in one basin; average others, or allow the barrier by name (--allow-barrier)"
        )
