"""Linear mode connectivity: the error of networks on the line between two (Frankle et al., ICML 2020).

Two cards lie in one basin where the error does not rise on the way from one to the other. Only those may be averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cards_deck.card import Card
from cards_deck.data import Dataset
from cards_deck.errors import InputError
from cards_deck.training.averaging.average import Statistics, average, check_cards, recalibrated
from cards_deck.training.averaging.batch_norm import AugmentedImages
from cards_deck.training.averaging.judge import CLEAN, Judge
from cards_deck.training.recipe import Recipe
from cards_deck.training.run import fine_tuned

LIMIT = 0.02  # of error: what Frankle et al. call stable lies below it
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


def instability(
    parent: Card,
    recipe: Recipe,
    seeds: tuple[int, int],
    train: Dataset,
    validation: Dataset,
    images: AugmentedImages,
    folder: Path,
    *,
    points: int = POINTS,
    device: str = "auto",
) -> Barrier:
    """Instability analysis: train two copies of `parent` apart and measure the barrier between them.

    The copies see another order of the data and other random augmentations, nothing else differs. Where the barrier is
    low, `parent` is stable: cards tuned from it may be averaged. Resumes in `folder`.

    Args:
        parent: where both start.
        recipe: network, augmentation and schedule of the copies.
        seeds: two different ones.
        train: training images.
        validation: held-out images that the path is measured on.
        images: for batch-norm statistics.
        folder: gets the checkpoints of each copy.
        points: of the path, ends included.
        device: torch device, or `auto`.
    """
    if seeds[0] == seeds[1]:
        raise InputError(f"instability needs two different seeds, got {seeds[0]} twice")
    one, other = (
        fine_tuned(
            replace(recipe, seed=seed), parent, train, validation, folder / f"seed-{seed}", name=f"seed-{seed}",
            device=device, quiet=True, bits=32,
        )
        for seed in seeds
    )  # fmt: skip
    return barrier(one, other, Judge.of(validation, corrupted=0), images, alphas=even_alphas(points))
