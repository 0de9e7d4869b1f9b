"""A whole evaluation in a moment: a fake deck, labelled images made for it, and settings; shared by several tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck.data import Dataset, save_npz
from cards_deck.deck import Deck, GateConfig
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.gates import Decision, Routing
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import Floats
from eval.cells import Labels
from eval.context import Settings
from eval.measure import CellAnswers
from eval.suites import SUITES
from eval.suites.corruptions import CorruptionSuite

PLAIN = SUITES["cifar10-c"]
assert isinstance(PLAIN, CorruptionSuite)
SUITE = dataclasses.replace(PLAIN, corruptions=("gaussian_noise", "contrast", "pixelate"))
CLASSES, TEST, PART = 4, 60, 20
VALIDATION = 6  # a tenth of the training images
VALIDATION_CELLS = 1 + 24 * 5


def tiny_deck(classes: int = CLASSES) -> Deck:
    """Four cards; the third has the best recorded accuracy."""
    plain = fake_deck(classes=classes, gate=GateConfig(parameters={"margin": 0.3}))
    scores = dict(zip((card.id for card in plain.cards), (0.5, 0.6, 0.9, 0.7), strict=True))
    measured = {card: {"validation": {"accuracy": score}} for card, score in scores.items()}
    return dataclasses.replace(plain, measured=measured)


def labelled(deck: Deck, count: int, split: str, seed: int, name: str = "cifar10") -> Dataset:
    """Images whose labels are mostly what the deck answers, so that accuracies are neither 0 nor 1."""
    images = fake_images(count, deck.image_size, seed)
    labels = Predictor(deck, engine=EngineKind.FAKE).predict(images).labels
    random = np.random.default_rng(seed)
    labels = np.where(random.random(count) < 0.25, random.integers(0, len(deck.classes), count), labels)
    return Dataset(images, labels, deck.classes, name, split)


def tiny_test(deck: Deck) -> Dataset:
    return labelled(deck, TEST, "test", 1)


def write_root(deck: Deck, folder: Path) -> Path:
    """A data root with both splits."""
    save_npz(tiny_test(deck), folder)
    save_npz(labelled(deck, 10 * VALIDATION, "train", 2), folder)
    return folder


def tiny_settings(root: Path, cache: Path | None) -> Settings:
    return Settings(
        SUITE,
        root,
        "cifar10",
        subset=PART,
        resamples=200,
        cache=cache,
        engine=EngineKind.FAKE,
        validation=10,
        timing=False,
    )


def measured_part(result: dict[str, Any]) -> dict[str, Any]:
    """The result without what depends on the time and the host."""
    return {name: value for name, value in result.items() if name not in ("provenance", "timing")}


def cell_answers(
    name: str,
    logits: Floats,
    weights: Floats,
    distances: Floats,
    labels: Labels | None,
    spectra: NDArray[np.float16],
    unknown: NDArray[np.bool_] | None = None,
) -> CellAnswers:
    """Answers to a cell as if a gate had chosen `weights` [n, k] at once."""
    strange = np.zeros(len(weights), np.bool_) if unknown is None else unknown
    routing = Routing(weights, distances, strange, distances.argmin(axis=1), weights)
    decision = Decision(weights, weights > 0, logits, routing, np.ones(len(weights), np.bool_))
    return CellAnswers(name, logits, decision, labels, lambda: spectra.astype(np.float32), False)
