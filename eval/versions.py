"""Decks that are versions of one another: cards of the same names, with values of another precision.

Averages need not be in every version: the cards compared are those that all have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cards_deck.card import Card
from cards_deck.deck import Deck
from cards_deck.errors import InputError
from eval.context import Context


@dataclass(frozen=True, eq=False)
class Version:
    """One deck among those compared. `places` are those of the compared cards in it, in the order of the first deck."""

    label: str
    context: Context
    places: tuple[int, ...]

    @property
    def deck(self) -> Deck:
        """The version's deck."""
        return self.context.deck

    @property
    def cards(self) -> tuple[Card, ...]:
        """The version's cards that are compared, in the order of the first deck."""
        return tuple(self.deck.cards[place] for place in self.places)

    @property
    def engines(self) -> tuple[str, ...]:
        """What runs each of `cards`."""
        return tuple(self.context.measurer.engines[place] for place in self.places)


def versions_of(context: Context, others: Sequence[Deck]) -> list[Version]:
    """The deck of the context, then `others`; InputError unless they are versions of it that can be told apart.

    AUTO is as in serving, for each card the fastest engine, where other suites take one for all.
    """
    first, settings = context.deck, context.settings
    for deck in others:
        _check_version(first, deck)
    decks = [first, *others]
    names = [card.name for card in first.cards if all(card.name in _names(deck) for deck in others)]
    contexts = [Context(deck, settings, engine=settings.engine) for deck in decks]
    return [
        Version(label, each, tuple(_names(each.deck).index(name) for name in names))
        for label, each in zip(labels_for(decks), contexts, strict=True)
    ]


def _check_version(first: Deck, deck: Deck) -> None:
    (wanted, found), averages = (set(_names(each)) for each in (first, deck)), _averages(first) | _averages(deck)
    where = (
        f"{deck.folder or deck.name} must be a version of {first.folder or first.name}, with cards of the same names"
    )
    gaps = [("lacks", wanted - found - averages), ("has", found - wanted - averages)]
    if told := " and ".join(f"{verb} {', '.join(sorted(names))}" for verb, names in gaps if names):
        raise InputError(
            f"{where} in any order, averages aside; it {told}: make a version with `cards-deck quantize`, a card at a "
            "time under its name, and `cards-deck pack`"
        )
    for what in ("classes", "image_size"):
        if getattr(deck, what) != getattr(first, what):
            raise InputError(f"{where} and the same {what}; it has {getattr(deck, what)}, not {getattr(first, what)}")


def _names(deck: Deck) -> list[str]:
    return [card.name for card in deck.cards]


def _averages(deck: Deck) -> set[str]:
    return {card.name for card in deck.cards if card.averaged}


def labels_for(decks: Sequence[Deck]) -> list[str]:
    """What each deck is called: its cards' precision, and the deck's name where two are of one precision."""
    plain = [listed([precision(card) for card in deck.cards]) for deck in decks]
    labels = [
        label if plain.count(label) == 1 else f"{label} ({deck.name})" for label, deck in zip(plain, decks, strict=True)
    ]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise InputError(f"decks of the same precision must differ in name, but several are {', '.join(twice)}")
    return labels


def precision(card: Card) -> str:
    """The quantizer that made the card's values; of a card that none made, the floats that they are stored as."""
    name = str(card.record.quantizer.get("name", "none"))
    return f"fp{card.record.bits}" if name == "none" else name


def listed(names: Sequence[str]) -> str:
    """Each name once, in order: what a deck's cards have in common, or have not."""
    return "+".join(dict.fromkeys(names))
