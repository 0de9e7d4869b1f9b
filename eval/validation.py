"""What validation data decides: held-out training images, clean and under corruptions that no suite measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cards_deck import corruptions
from cards_deck.data import Dataset, split_train_validation
from cards_deck.deck import Deck
from eval.cells import RegeneratedCells, balanced_subset, ranks_by_pixels
from eval.measure import CellAnswers, Measurer, cell_job, clean_job, labels_of
from eval.metrics import is_correct
from eval.progress import Progress

RECORDED = {
    "score": "validation score, half clean, half the mean over augmented and corrupted images",
    "corrupted": "accuracy on corrupted validation images",
    "accuracy": "accuracy on clean validation images",
}


def best_place(deck: Deck, scores: Sequence[float]) -> int:
    """The card with the best of the scores, of those that are no second looks while there are any."""
    plain = [place for place, card in enumerate(deck.cards) if not card.mirrored]
    return max(plain or range(len(scores)), key=lambda place: scores[place])


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

    A record is `measured[card id]["validation"]`; the first field of `RECORDED` that all cards have decides: `score`,
    by which the deck's cards are in order too (`cards_deck.training.trials.Trial.score`).
    """
    records = [_record(deck.measured, card.id) for card in deck.cards]
    for field, what in RECORDED.items():
        if all(isinstance(record.get(field), int | float) for record in records):
            scores = tuple(float(record[field]) for record in records)
            return Choice(best_place(deck, scores), scores, f"{what}, recorded in the deck")
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


@dataclass(frozen=True, eq=False)
class Validation:
    """Every card's answers to the validation cells: clean first, then each corruption at severities 1 to 5.

    `count` images per cell; `cells` their names (corruption, severity), ("clean", 0) for the images as they are.
    """

    count: int
    cells: tuple[tuple[str, int], ...]
    answers: tuple[CellAnswers, ...]

    def choice(self, deck: Deck) -> Choice:
        """The card of the deck with the best mean accuracy over the cells."""
        correct = [is_correct(cell.logits, labels_of(cell)).mean(axis=1) for cell in self.answers]
        scores = [float(score) for score in np.mean(correct, axis=0)]
        names = ", ".join(dict.fromkeys(name for name, _ in self.cells))
        what = f"{self.count:,} validation images, mean accuracy over {len(self.cells)} cells ({names})"
        return Choice(best_place(deck, scores), tuple(scores), what)

    def as_dict(self) -> dict[str, Any]:
        """JSON form: images per cell, and the cells' names."""
        return {"n": self.count, "cells": [f"{name} {severity}" if severity else name for name, severity in self.cells]}


def measure_validation(measurer: Measurer, images: Dataset, *, seed: int, threads: int) -> Validation:
    """Every card on validation images as they are and under the corruptions that no suite measures."""
    cells = RegeneratedCells(images, seed)
    names = [(name, severity) for name in corruptions.HELD_BACK_CORRUPTIONS for severity in corruptions.SEVERITIES]
    jobs = [clean_job(images, "validation clean"), *(cell_job(cells, *cell, prefix="validation ") for cell in names)]
    progress = Progress(len(jobs) * len(images), "validation")
    answers = tuple(measurer.run(jobs, threads=threads, progress=progress))
    return Validation(len(images), (("clean", 0), *names), answers)


def first_in_deck() -> Choice:
    """The deck's first card: a deck lists its cards by their quality on validation data, best first."""
    return Choice(0, (), "validation data by whoever made the deck: it is the first in the deck")
