"""Instability analysis: whether training from a card ends in one basin (Frankle et al., ICML 2020)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cards_deck.card import Card
from cards_deck.data import Dataset
from cards_deck.errors import InputError
from cards_deck.training.averaging.barrier import POINTS, Barrier, barrier, even_alphas
from cards_deck.training.averaging.batch_norm import AugmentedImages
from cards_deck.training.averaging.judge import Judge
from cards_deck.training.recipe import Recipe
from cards_deck.training.run import fine_tuned


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
    quiet: bool = True,
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
        quiet: show no progress.
    """
    alphas = even_alphas(points)
    if seeds[0] == seeds[1]:
        raise InputError(f"instability needs two different seeds, got {seeds[0]} twice")
    one, other = (
        fine_tuned(
            replace(recipe, seed=seed), parent, train, validation, folder / f"seed-{seed}", name=f"seed-{seed}",
            device=device, quiet=quiet, bits=32,
        )
        for seed in seeds
    )  # fmt: skip
    return barrier(one, other, Judge.of(validation, corrupted=0), images, alphas=alphas)
