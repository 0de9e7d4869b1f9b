"""Cards to a deck: reference spectra from training images, order and gate from validation images, nothing from test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cards_deck.card import Card
from cards_deck.data import Dataset
from cards_deck.deck import Deck, GateConfig, originals_of
from cards_deck.errors import InputError
from cards_deck.inference.engines import EngineKind, load
from cards_deck.inference.gates import SpectralGate
from cards_deck.inference.predictor import combine
from cards_deck.spectrum import Floats, Images, build_references, log_amplitude
from cards_deck.training.augmentations import AUGMENTATIONS

CLEAN = "clean"
MARGINS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 0.8, 1.2)


def make_deck(
    name: str,
    version: str,
    cards: Sequence[Card],
    train: Dataset,
    validation: Dataset,
    *,
    max_cards: int = 2,
    reference_images: int = 2000,
    seed: int = 0,
) -> Deck:
    """Return a deck whose order and gate margin are chosen on validation images, clean and as augmented in training.

    What was measured is recorded without the commit and date: the same recipe gives the same bytes whoever runs it. The
    report of a released deck, which names its cards by id, carries both.

    Args:
        name: of the deck.
        version: of the deck.
        cards: in any order; each trained on the same classes and image size.
        train: training images; `reference_images` of them under each augmentation make the reference spectra.
        validation: held-out images; every card is measured on all of them, clean and under each augmentation.
        max_cards: most cards that may answer one image.
        reference_images: per augmentation.
        seed: of the augmented images.
    """
    if not cards:
        raise InputError("a deck needs at least one card")
    augmentations = _augmentations([cards[place] for place in originals_of(cards)])
    few = train.subset(np.random.default_rng(seed).permutation(len(train))[:reference_images])
    references = build_references({n: augmented(few.images, a, seed) for n, a in augmentations.items()})
    domains = {CLEAN: validation.images} | {
        n: augmented(validation.images, a, seed + 1) for n, a in augmentations.items()
    }
    trials = [_Trial(card, domains, validation) for card in cards]
    trials.sort(key=lambda trial: (-trial.score, trial.card.name))
    deck = Deck(
        name=name, version=version, classes=validation.classes, image_size=validation.images.shape[1],
        cards=tuple(trial.card for trial in trials), references=references,
        gate=GateConfig(max_cards=min(max_cards, len(cards)), parameters={"margin": 0.0}),
        measured={trial.card.id: {"validation": trial.record} for trial in trials},
    )  # fmt: skip
    margin = _best_margin(deck, trials, domains, validation.labels)
    return replace(deck, gate=replace(deck.gate, parameters={"margin": margin}))


def augmented(images: Images, description: Mapping[str, Any], seed: int) -> Images:
    """uint8 [n, h, w, 3] -> the same shape under the augmentation that a card's record describes."""
    augmentation = AUGMENTATIONS.restore(dict(description))
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for start in range(0, len(images), 1000):
        batch = torch.from_numpy(np.ascontiguousarray(images[start : start + 1000].transpose(0, 3, 1, 2)))
        parts.append(augmentation(batch, generator).numpy().transpose(0, 2, 3, 1))
    return np.ascontiguousarray(np.concatenate(parts))


def _augmentations(cards: Sequence[Card]) -> dict[str, dict[str, Any]]:
    """Each augmentation of the cards, by name and sorted; a name must mean one setting, since the gate routes by it."""
    found: dict[str, dict[str, Any]] = {}
    for card in cards:
        known = found.setdefault(card.augmentation, card.record.augmentation)
        if known != card.record.augmentation:
            raise InputError(
                f"two cards were trained under different settings of {card.augmentation!r}: {known} and "
                f"{card.record.augmentation}; a deck holds one setting of each augmentation"
            )
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class _Measured:
    logits: Floats
    accuracy: float


class _Trial:
    """One card on every domain of the validation images."""

    def __init__(self, card: Card, domains: Mapping[str, Images], validation: Dataset) -> None:
        runner = load(card, EngineKind.AUTO, image_size=validation.images.shape[1], threads=1)
        self.card = card
        self.domains: dict[str, _Measured] = {}
        for domain, images in domains.items():
            logits = np.concatenate([runner(images[i : i + 250]) for i in range(0, len(images), 250)])
            self.domains[domain] = _Measured(logits, float((logits.argmax(1) == validation.labels).mean()))

    @property
    def score(self) -> float:
        """Mean accuracy over the domains, clean and augmented."""
        return float(np.mean([measured.accuracy for measured in self.domains.values()]))

    @property
    def record(self) -> dict[str, Any]:
        """What the deck keeps: clean accuracy, accuracy on each augmentation, and the mean that orders the deck."""
        n = len(next(iter(self.domains.values())).logits)
        by_domain = {domain: round(measured.accuracy, 6) for domain, measured in self.domains.items()}
        return {"n": n, "accuracy": by_domain[CLEAN], "domains": by_domain, "score": round(self.score, 6)}


def _best_margin(
    deck: Deck, trials: Sequence[_Trial], domains: Mapping[str, Images], labels: NDArray[np.int64]
) -> float:
    """The margin with the best mean accuracy over the domains; the smallest of equals."""
    gate = SpectralGate.from_deck(deck)
    distances = {domain: gate.distances(log_amplitude(images)) for domain, images in domains.items()}

    def accuracy(margin: float) -> float:
        tried = SpectralGate.from_deck(replace(deck, gate=replace(deck.gate, parameters={"margin": margin})))
        right = []
        for domain, found in distances.items():
            logits = np.stack([trial.domains[domain].logits for trial in trials])
            answers = combine(logits, tried.route_distances(found).weights)
            right.append((answers.argmax(1) == labels).mean())
        return float(np.mean(right))

    scores = {margin: round(accuracy(margin), 6) for margin in MARGINS}
    return max(MARGINS, key=lambda margin: (scores[margin], -margin))
