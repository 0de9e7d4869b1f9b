"""Cards to a deck: reference spectra from training images, order and gate from validation images, nothing from test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cards_deck.card import Card
from cards_deck.corruptions import HELD_BACK_CORRUPTIONS, VALIDATION_CORRUPTIONS
from cards_deck.costs import card_costs
from cards_deck.data import Dataset
from cards_deck.deck import Deck, GateConfig, originals_of
from cards_deck.errors import InputError
from cards_deck.gate_config import MOST_CARDS, MOST_LOSS
from cards_deck.inference.gates import Known, Observed, choose_gate
from cards_deck.spectrum import build_references
from cards_deck.training.trials import Domains, augmentations_of, augmented, measure

__all__ = ["AUTO", "augmented", "make_deck", "refit_gate", "with_gate"]

AUTO = "auto"
CORRUPTED_IMAGES = 1000  # under each corruption and severity: a cell's loss is then known to a point


def make_deck(
    name: str,
    version: str,
    cards: Sequence[Card],
    train: Dataset,
    validation: Dataset,
    *,
    gate: str = AUTO,
    max_cards: int = 2,
    most_cards: float = MOST_CARDS,
    most_loss: float = MOST_LOSS,
    reference_images: int = 2000,
    corrupted_images: int = CORRUPTED_IMAGES,
    seed: int = 0,
) -> Deck:
    """Return a deck whose order and gate are chosen on validation images: clean, as augmented in training and under
    corruptions that no suite measures, never under those that it will be measured on.

    What was measured is recorded without the commit and date: the same recipe gives the same bytes whoever runs it. The
    report of a released deck, which names its cards by id, carries both. `measured["gate"]` holds every kind's scores.

    Args:
        name: of the deck.
        version: of the deck.
        cards: in any order; each trained on the same classes and image size, or an average of others.
        train: training images; `reference_images` of them under each augmentation make the reference spectra.
        validation: held-out images; every card is measured on all of them, clean and under each augmentation.
        gate: its kind, or "auto" for the cheapest of those that score best on images that they were not fitted on.
        max_cards: most cards that may answer one image.
        most_cards: most cards that may answer an image on average, on validation images.
        most_loss: most accuracy, in [0, 1], that the gate may lose against the plain average in any validation cell.
        reference_images: per augmentation.
        corrupted_images: validation images under each of these corruptions and severities.
        seed: of the augmented images and the corruptions.
    """
    if not cards:
        raise InputError("a deck needs at least one card")
    augmentations = augmentations_of(cards[place] for place in originals_of(cards))
    few = train.subset(np.random.default_rng(seed).permutation(len(train))[:reference_images])
    references = build_references({n: augmented(few.images, a, seed) for n, a in augmentations.items()})
    ordered = sorted(cards, key=lambda card: card.name)  # whatever their order: the same deck
    corruptions = VALIDATION_CORRUPTIONS if gate == "uniform" else HELD_BACK_CORRUPTIONS  # there is nothing to fit
    trials, observed = measure(ordered, Domains(validation, augmentations, seed, corrupted_images, corruptions))
    places = sorted(range(len(ordered)), key=lambda place: -trials[place].score)
    deck = Deck(
        name=name, version=version, classes=validation.classes, image_size=validation.images.shape[1],
        cards=tuple(ordered[place] for place in places), references=references,
        gate=GateConfig("uniform", max_cards=min(max_cards, len(cards))),
        measured={trials[place].card.id: {"validation": trials[place].record} for place in places},
    )  # fmt: skip
    observed = replace(observed, logits=observed.logits[places])
    return with_gate(deck, observed, gate, most_cards=most_cards, most_loss=most_loss)


def with_gate(
    deck: Deck,
    observed: Observed,
    kind: str = AUTO,
    *,
    most_cards: float = MOST_CARDS,
    most_loss: float = MOST_LOSS,
) -> Deck:
    """The deck with a gate of this kind, or the best, fitted on what its cards answered to validation images.

    The limits of the deck's own gate stay. `measured["gate"]` says how each kind that was tried scores, on images and
    corruptions that it was not fitted on, and how far the gate was below the plain average in its worst cell there.
    """
    costs = [float(card_costs(card, deck.image_size).macs_executed) for card in deck.cards]
    chosen = choose_gate(
        observed, Known.of(deck), deck.gate,
        kinds=None if kind == AUTO else [kind], most_cards=most_cards, most_loss=most_loss, costs=costs,
    )  # fmt: skip
    counts = np.bincount(observed.cell, minlength=len(observed.names))
    record = {
        "n": int(counts.max()),
        "n_corrupted": int(counts[counts > 0].min()),
        "most_cards": most_cards,
        "most_loss": most_loss,
        "cells": list(observed.names),
        **chosen.as_dict(),
    }
    return replace(deck, gate=chosen.gate.config, measured={**deck.measured, "gate": record}, folder=None)


def refit_gate(
    deck: Deck,
    validation: Dataset,
    kind: str = AUTO,
    *,
    most_cards: float | None = None,
    most_loss: float | None = None,
    corrupted_images: int = CORRUPTED_IMAGES,
    seed: int = 0,
) -> tuple[Deck, Observed]:
    """(the deck with another gate, what its cards answered to the validation images that this was fitted on).

    For a deck whose cards have changed; the limits of its gate and its references stay. See `make_deck`.

    Args:
        deck: of any gate.
        validation: held-out images, as the deck was made with.
        kind: of the gate, or "auto" for the best.
        most_cards: most cards that may answer an image on average; None: as many as the deck's gate was allowed.
        most_loss: most accuracy to lose against the plain average in a validation cell; None: as the deck's gate.
        corrupted_images: validation images under each of these corruptions and severities.
        seed: of the augmented images and the corruptions.
    """
    before = deck.measured.get("gate", {})
    if most_cards is None:
        most_cards = float(before.get("most_cards", MOST_CARDS))
    if most_loss is None:
        most_loss = float(before.get("most_loss", MOST_LOSS))
    augmentations = augmentations_of(deck.cards[place] for place in deck.originals)
    _, observed = measure(deck.cards, Domains(validation, augmentations, seed, corrupted_images, HELD_BACK_CORRUPTIONS))
    return with_gate(deck, observed, kind, most_cards=most_cards, most_loss=most_loss), observed
