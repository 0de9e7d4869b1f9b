"""Three small trained cards of one mask, their data, and what averages of them are made with; shared by tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_training import NETWORK, SHORT, patterns

from cards_deck.card import Card
from cards_deck.training.augmentations.crop_flip import CropFlip
from cards_deck.training.augmentations.gaussian import Gaussian
from cards_deck.training.averaging.batch_norm import BatchNorm
from cards_deck.training.averaging.blends import Bench
from cards_deck.training.recipe import Recipe
from cards_deck.training.run import fine_tune_card, train_card
from cards_deck.training.tickets.rigl import RigL

TRAIN, VALIDATION = patterns(96), patterns(60, seed=1, split="validation")
NOISE = Gaussian(std=0.2)
BASE = Recipe(NETWORK, RigL(density=0.6, interval=3), CropFlip(), replace(SHORT, epochs=6), seed=1)
TUNE = replace(BASE, schedule=replace(SHORT, epochs=2, learning_rate=0.02), seed=2)


def make_family(folder: Path) -> tuple[Card, Card, Card]:
    """A base card, one tuned under noise, one tuned as the base was."""
    (base,) = train_card(BASE, TRAIN, VALIDATION, folder / "base", device="cpu", quiet=True)
    noisy, again = (
        fine_tune_card(recipe, base, TRAIN, VALIDATION, folder / name, device="cpu", quiet=True)
        for name, recipe in (("noisy", replace(TUNE, augmentation=NOISE)), ("again", replace(TUNE, seed=3)))
    )
    return base, noisy, again


@pytest.fixture(scope="session")
def cards(tmp_path_factory: pytest.TempPathFactory) -> tuple[Card, Card, Card]:
    """`make_family`, once."""
    return make_family(tmp_path_factory.mktemp("family"))


@pytest.fixture(scope="session")
def bench() -> Bench:
    """96 images for statistics in batches of 32, 60 for validation, 20 of them under each validation corruption."""
    return Bench(TRAIN, VALIDATION, BatchNorm(96, 32), corrupted=20)
