"""A second look: a card whose weights are another's, and which sees every image mirrored, left for right.

Cards are trained on images and their mirror images alike, and yet answer the two differently. The mean of both answers
is worth more than either, as that of two cards is, and costs another pass but no weights. Averaging over reflections at
test time is as old as AlexNet (Krizhevsky et al., NeurIPS 2012, section 4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cards_deck.card import Card
from cards_deck.checks import NAME_RULE, is_name
from cards_deck.data import Dataset
from cards_deck.deck import Deck
from cards_deck.errors import InputError
from cards_deck.record import AVERAGE, MIRRORED
from cards_deck.training.averaging.blends import place_card

SUFFIX = "-mirrored"


def look_name(name: str) -> str:
    """What the second look of the card of this name is called. InputError where that is too long for a name."""
    if not is_name(name + SUFFIX):
        raise InputError(
            f"a card's name must be {NAME_RULE}: {name!r} leaves no room for the {SUFFIX!r} of its second look; give "
            "it a shorter one"
        )
    return name + SUFFIX


def mirrored(card: Card) -> Card:
    """Return the second look of `card`: the same weights, on mirrored images.

    In a deck with the card, or with those that it is an average of, its file holds no weights. Raises InputError where
    `card` is a second look itself, or quantized.
    """
    record = card.record
    if record.mirrored or record.bits < 16:
        what = "sees images mirrored already" if record.mirrored else f"is quantized to {record.bits} bits"
        raise InputError(f"card {card.name!r} {what}: give a second look to the card that it came from")
    method: dict[str, Any] = dict(record.method)
    if not record.averaged:
        method = {"name": AVERAGE, "coefficients": [1.0], "batch_norm": {"name": "averaged"}}
        if record.cut_from is not None:
            method["weights"] = record.cut_from
        record = replace(record, parents=(card.id,), schedule={}, seed=0)
    return replace(card, name=look_name(card.name), record=replace(record, method={**method, MIRRORED: True}))


def add_looks(deck: Deck, names: Sequence[str], validation: Dataset) -> Deck:
    """The deck with a second look of each of the cards of these names, right behind it. Its gate wants fitting: see
    `add_blend`.

    Raises InputError for a name that is no card's or is given twice, and where the second look's is taken.
    """
    cards = {card.name: card for card in deck.cards}
    for name in names:
        if name not in cards:
            raise InputError(f"deck {deck.name!r} has no card {name!r}: its cards are {', '.join(cards)}")
        if names.count(name) > 1:
            raise InputError(
                f"a card has one second look, and {name!r} is named {names.count(name)} times: name it once"
            )
        if look_name(name) in cards:
            raise InputError(
                f"deck {deck.name!r} has a card {look_name(name)!r} already, as the second look of {name!r} is called: "
                "leave it out, or pack the deck with other names"
            )
    for card, look in [(cards[name], mirrored(cards[name])) for name in names]:
        barrier = {key: value for key, value in deck.measured.get(card.id, {}).items() if key == "barrier"}
        deck = place_card(deck, look, validation, barrier, deck.cards.index(card) + 1)
    return deck
