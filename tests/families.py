"""Tiny families of cards with one mask, and averages of them, made without torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cards_deck.averages import averaged_card, rounded_statistics, statistics_names
from cards_deck.card import Card, CardRecord, as_stored
from cards_deck.deck import Deck, GateConfig
from cards_deck.inference.fake_deck import fake_card, fake_deck

AUGMENTATIONS = ("augmix", "gaussian", "augmix", "gaussian")


def family(size: int = 4, bits: int = 16) -> list[Card]:
    """`size` cards with the mask of the first, as fine-tuned from it, under "augmix" and "gaussian" in turns."""
    base = fake_card("base", bits=bits)
    return [base, *(_tuned(base, index, AUGMENTATIONS[index % 4]) for index in range(1, size))]


def _tuned(base: Card, index: int, augmentation: str) -> Card:
    rng = np.random.default_rng(index)
    tensors = {}
    for name, array in base.tensors.items():
        moved = array + rng.normal(0, 0.05, array.shape)
        if name in base.masks:
            moved = np.where(base.masks[name], moved, 0)
        tensors[name] = moved.astype(np.float32)
    record = dataclasses.replace(
        base.record, seed=index, parents=(base.id,), augmentation={"name": augmentation}, method={"name": "fine_tune"}
    )
    return as_stored(Card(f"tuned_{index}", record, base.graph, tensors, dict(base.masks)))


def average_record(cards: Sequence[Card], coefficients: Sequence[float], **fields: Any) -> CardRecord:
    """The record of an average of cards with one mask."""
    method = {"name": "average", "coefficients": list(coefficients), "batch_norm": {"images": 0}}
    given = {"method": method, "parents": tuple(card.id for card in cards), "augmentation": {"name": "mixed", "of": []}}
    return dataclasses.replace(cards[0].record, **(given | fields))


def blend(cards: Sequence[Card], coefficients: Sequence[float], name: str = "blend", **fields: Any) -> Card:
    """An average with batch-norm statistics of its own."""
    record = average_record(cards, coefficients, **fields)
    return averaged_card(name, record, cards, rounded_statistics(statistics_of(cards[0])))


def statistics_of(card: Card, seed: int = 5) -> Mapping[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Statistics that no card of the family has."""
    rng = np.random.default_rng(seed)
    names = [name for kind in statistics_names(card.graph) for name in kind]
    return {name: rng.uniform(0.5, 1.5, card.shapes[name]).astype(np.float32) for name in names}


def family_deck(*, blends: bool = True, gate: GateConfig | None = None) -> Deck:
    """A deck of four cards of one mask and, first and last in its order, two averages of them."""
    cards = family()
    averages = [blend(cards[:2], (0.5, 0.5), "half"), blend(cards[1:], (0.25, 0.25, 0.5), "soup")] if blends else []
    together = (*averages[:1], *cards, *averages[1:])
    return dataclasses.replace(fake_deck(), name="family", cards=together, gate=gate or GateConfig())
