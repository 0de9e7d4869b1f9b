"""The cards of a deck and their files: masks in common are stored once, averages as what they are averages of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cards_deck.averages import MAX_WORK, average_bytes, average_from_bytes, is_average, work
from cards_deck.card import Card, card_bytes, card_from_bytes
from cards_deck.errors import CardError, DeckError
from cards_deck.manifest import MANIFEST, read_verified
from cards_deck.masks import SharedMasks, common_masks, masks_bytes, masks_from_bytes
from cards_deck.record import AVERAGE


def averages_of(cards: Sequence[Card]) -> dict[int, tuple[int, ...]]:
    """For the place of each card that is an average of others among them: their places, in its coefficients' order; of
    a second look whose card is none, the place of that.

    Quantizing changes nothing of an average, nor of those others.
    """
    own = {place: card for place, card in enumerate(cards) if card.record.method.get("name") != AVERAGE}
    places = {parent: place for place, card in own.items() if card.record.quantized for parent in card.record.parents}
    places |= {card.id: place for place, card in own.items()}
    found = {place: card.record.average_of for place, card in enumerate(cards)}
    averages = {place: tuple(places[one] for one in of) for place, of in found.items() if of and set(of) <= set(places)}
    plain = {card.id: place for place, card in enumerate(cards) if not card.mirrored}
    looks = {place: plain.get(card.record.weights_of) for place, card in enumerate(cards) if card.mirrored}
    return {**{place: (of,) for place, of in looks.items() if of is not None}, **averages}


def coefficients_of(card: Card, of: Sequence[int]) -> list[float]:
    """The shares of the cards that it is `of` in an average, by `averages_of`."""
    return [1.0] if len(of) == 1 else list(card.record.method["coefficients"])


def originals_of(cards: Sequence[Card]) -> tuple[int, ...]:
    """Places of the cards that are not averages of others among them; there is one at least."""
    averages = averages_of(cards)
    return tuple(place for place in range(len(cards)) if place not in averages)


def mirrored_of(cards: Sequence[Card]) -> tuple[int, ...]:
    """Places of the cards that see images mirrored."""
    return tuple(place for place, card in enumerate(cards) if card.mirrored)


def parts_of(cards: Sequence[Card]) -> tuple[tuple[float, ...], ...]:
    """Share of every card in each card; rows sum to 1. An average is its originals, all others are themselves."""
    averages, rows = averages_of(cards), []
    for place, card in enumerate(cards):
        shares = {place: 1.0}
        if place in averages:
            shares = dict(zip(averages[place], coefficients_of(card, averages[place]), strict=True))
        rows.append(tuple(float(shares.get(one, 0.0)) for one in range(len(cards))))
    return tuple(rows)


def card_files(cards: Sequence[Card]) -> tuple[bytes | None, list[bytes]]:
    """(the file of the masks in common or None, the file of each card).

    An average is written as such where the other cards' files give it back bit for bit, else whole.
    """
    averages = {place for place in averages_of(cards) if cards[place].averaged}
    places = [place for place in range(len(cards)) if place not in averages]
    common = common_masks(cards[place].masks for place in places)
    masks = masks_bytes(common) if common else None
    shared = masks_from_bytes(masks) if masks is not None else None
    written = {place: card_bytes(cards[place], shared) for place in places}
    if averages:
        stored = [card_from_bytes(data, cards[place].name, shared) for place, data in written.items()]
        parents, left = {card.id: card for card in stored}, MAX_WORK
        for place, card in enumerate(cards):
            if place not in written:
                small = _average_file(card, parents, left)
                left -= work(card) if small is not None else 0
                written[place] = small if small is not None else card_bytes(card, shared)
    return masks, [written[place] for place in range(len(cards))]


def _average_file(card: Card, parents: Mapping[str, Card], limit: int) -> bytes | None:
    data = average_bytes(card)
    try:
        average_from_bytes(data, card.name, parents, limit=limit)
    except CardError:
        return None
    return data


def read_cards(root: Path, entries: Sequence[Mapping[str, Any]], masks: Mapping[str, Any]) -> tuple[Card, ...]:
    """The cards that a manifest's entries name, in their order; DeckError, naming the file, for any that is not whole.

    `masks` is the manifest's entry of the masks in common, empty where there are none.
    """
    shared = _read_masks(root, masks)
    found: dict[int, Card] = {}
    averages: dict[int, bytes] = {}
    for place, entry in enumerate(entries):
        data = read_verified(root, entry)
        if is_average(data):
            averages[place] = data
        else:
            found[place] = _read_card(root, entry, data, shared)
    parents, left = {card.id: card for card in found.values() if not card.averaged}, MAX_WORK
    for place, data in averages.items():
        source = str(root / entries[place]["file"])
        try:
            found[place] = average_from_bytes(data, source, parents, limit=left)
            left -= work(found[place])
        except CardError as error:
            raise DeckError(str(error)) from None
    for place, entry in enumerate(entries):
        _check_described(root, entry, found[place])
    return tuple(found[place] for place in range(len(entries)))


def _read_masks(root: Path, entry: Mapping[str, Any]) -> SharedMasks | None:
    if not entry:
        return None
    data = read_verified(root, entry)
    try:
        return masks_from_bytes(data)
    except ValueError as error:
        raise DeckError(f"{root / entry['file']} is not readable as shared masks: {error}") from None


def _read_card(root: Path, entry: Mapping[str, Any], data: bytes, shared: SharedMasks | None) -> Card:
    try:
        return card_from_bytes(data, str(root / entry["file"]), shared)
    except CardError as error:
        raise DeckError(str(error)) from None


def _check_described(root: Path, entry: Mapping[str, Any], card: Card) -> None:
    same_record = json.loads(card.record.to_json()) == entry["record"]
    if (card.name, card.id) != (entry["name"], entry["id"]) or not same_record:
        found = f"{card.name!r} ({card.id})"
        raise DeckError(f"{root / entry['file']} holds card {found}, not the one that {MANIFEST} describes")
