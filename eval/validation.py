"""Which single card would have been released: chosen on validation data, never on the test images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cards_deck import corruptions
from cards_deck.data import Dataset, split_train_validation
from cards_deck.deck import Deck
from eval.cells import RegeneratedCells, balanced_subset, generator_fingerprint, ranks_by_pixels
from eval.measure import Job, Measurer, cell_job
from eval.progress import Progress

SEVERITY = 3
RECORDED = {
    "corrupted": "accuracy on corrupted validation images",
    "score": "mean accuracy on clean and augmented validation images",
    "accuracy": "accuracy on clean validation images",
}


@dataclass(frozen=True)
class Choice:
    """The best card's place in the deck, every card's score in [0, 1] where known, and what it was chosen on."""

    place: int
    scores: tuple[float, ...]
    chosen_on: str

    def as_dict(self, deck: Deck) -> dict[str, Any]:
        """JSON form, with the card's id and name."""
        scores = {card.id: round(score, 6) for card, score in zip(deck.cards, self.scores, strict=False)}
        card = deck.cards[self.place]
        return {"id": card.id, "name": card.name, "chosen_on": self.chosen_on, "scores": scores}


def recorded_choice(deck: Deck) -> Choice | None:
    """The card with the best validation result recorded in the deck, or None where a card has none.

    A record is `measured[card id]["validation"]`; the first of these fields that all cards have decides.
    """
    records = [_record(deck.measured, card.id) for card in deck.cards]
    for field, what in RECORDED.items():
        if all(isinstance(record.get(field), int | float) for record in records):
            scores = tuple(float(record[field]) for record in records)
            return Choice(int(np.argmax(scores)), scores, f"{what}, recorded in the deck")
    return None


def _record(measured: Mapping[str, Any], card: str) -> dict[str, Any]:
    entry = measured.get(card)
    validation = entry.get("validation") if isinstance(entry, dict) else None
    return validation if isinstance(validation, dict) else {}


def validation_images(train: Dataset, size: int, seed: int) -> Dataset:
    """`size` class-balanced images of the validation part of the training split."""
    _, validation = split_train_validation(train)
    chosen = balanced_subset(validation.labels, ranks_by_pixels(validation.images, seed), size)
    return validation.subset(chosen)


def measured_choice(measurer: Measurer, images: Dataset, *, seed: int, threads: int) -> Choice:
    """Measure every card on validation images, clean and under each corruption at severity 3; the best mean wins.

    The corruptions are those of the test, which can only favour the single card that the deck is compared with.
    """
    cells = RegeneratedCells(images, seed, generator_fingerprint())
    jobs = [cell_job(cells, name, SEVERITY, prefix="validation ") for name in corruptions.CORRUPTIONS]
    jobs.append(Job("validation clean", lambda: images.images, images.labels, lambda: f"{images.sha256[:16]}/clean"))
    progress = Progress(len(jobs) * len(images), "validation")
    outcomes = measurer.run(jobs, threads=threads, progress=progress)
    scores = np.mean([cell.cards.mean(axis=1) for cell in outcomes], axis=0)
    what = f"{len(images):,} validation images, mean of clean and the 15 corruptions at severity {SEVERITY}"
    return Choice(int(scores.argmax()), tuple(float(score) for score in scores), what)


def first_in_deck() -> Choice:
    """The deck's first card: a deck lists its cards by their quality on validation data, best first."""
    return Choice(0, (), "validation data by whoever made the deck: it is the first in the deck")
