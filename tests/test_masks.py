"""Masks that cards share: stored once in a deck, whole in a card's own file, and never mixed up."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cards_deck import tensorfile
from cards_deck.card import Card, card_bytes, card_from_bytes, read_card
from cards_deck.deck import Deck, card_sizes, read_deck, write_deck
from cards_deck.errors import CardError, DeckError
from cards_deck.inference.fake_deck import fake_card, fake_deck
from cards_deck.masks import PackedMask, SharedMasks, common_masks, mask_key, masks_bytes, masks_from_bytes


def _relatives(count: int = 3) -> list[Card]:
    """Cards with one mask and different weights."""
    first = fake_card("first")
    cards = [first]
    for seed in range(1, count):
        other = fake_card(f"card{seed}", seed=seed)
        tensors = dict(other.tensors)
        for name, mask in first.masks.items():
            tensors[name] = np.where(mask, np.float32(0.5) * (1 + np.float32(seed)), np.float32(0))
        record = dataclasses.replace(other.record, density=first.record.density)
        cards.append(Card(other.name, record, other.graph, tensors, first.masks))
    return cards


def _deck(cards: list[Card]) -> Deck:
    made = fake_deck()
    references = dataclasses.replace(
        made.references,
        augmentations=("augmix",),
        log_amplitude=made.references.log_amplitude[:1],
        scale=made.references.scale[:1],
        tails=None if made.references.tails is None else made.references.tails[:1],
    )
    return dataclasses.replace(made, cards=tuple(cards), references=references)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_deck(_deck(_relatives()), tmp_path / "deck")


def test_shared_masks_are_stored_once_and_cards_come_back_whole(folder: Path, tmp_path: Path) -> None:
    cards = _relatives()
    assert len(list(folder.glob("masks-*.safetensors"))) == 1
    again = read_deck(folder)
    for card, found in zip(cards, again.cards, strict=True):
        assert card_bytes(found) == card_bytes(card)
        stored = next(folder.glob(f"{card.name}-*")).stat().st_size
        assert stored == card_sizes(again)[card.name] < len(card_bytes(card))
        assert stored == card_sizes(dataclasses.replace(again, folder=None))[card.name]
    assert [p.name for p in sorted(folder.iterdir())] == [
        p.name for p in sorted(write_deck(again, tmp_path / "again").iterdir())
    ]


def test_only_what_two_cards_have_is_shared(tmp_path: Path) -> None:
    first, second, third = *_relatives(2), fake_card("third", seed=7)
    assert set(common_masks([first.masks, second.masks, third.masks])) == {mask_key(m) for m in first.masks.values()}
    assert common_masks([first.masks, third.masks]) == {}
    assert not list(write_deck(fake_deck(), tmp_path / "deck").glob("masks-*"))


def test_a_mask_is_named_by_shape_and_content() -> None:
    mask = np.arange(12) % 3 == 0
    names = {mask_key(m) for m in (mask, mask.reshape(3, 4), mask.reshape(4, 3), ~mask, np.append(mask, [False] * 4))}
    assert len(names) == 5


def test_a_cards_file_is_readable_beside_its_masks_and_nowhere_else(folder: Path, tmp_path: Path) -> None:
    path = next(folder.glob("first-*"))
    assert card_bytes(read_card(path)) == card_bytes(fake_card("first"))
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(path.read_bytes())
    with pytest.raises(CardError, match="must lie beside it") as caught:
        read_card(copy)
    assert str(copy) in str(caught.value)
    masks = next(folder.glob("masks-*"))
    masks.write_bytes(masks_bytes({mask_key(m): m for m in fake_card("other", seed=9).masks.values()}))
    with pytest.raises(CardError, match="must lie beside it"):
        read_card(path)  # a file of that name with other masks is not taken
    masks.write_bytes(b"broken")
    with pytest.raises(CardError, match="cannot be read"):
        read_card(path)


def test_another_decks_masks_are_refused() -> None:
    card, other = fake_card("card"), fake_card("other", seed=9)
    shared = masks_from_bytes(masks_bytes({mask_key(m): m for m in card.masks.values()}))
    wrong = masks_from_bytes(masks_bytes({mask_key(m): m for m in other.masks.values()}))
    data = card_bytes(card, shared)
    assert card_bytes(card_from_bytes(data, shared=shared)) == card_bytes(card)
    with pytest.raises(CardError, match="must lie beside it"):
        card_from_bytes(data, shared=wrong)
    swapped = dict(zip(shared.masks, reversed(shared.masks.values()), strict=True))
    with pytest.raises(CardError, match="another shape or keeps another number"):
        card_from_bytes(data, shared=dataclasses.replace(shared, masks=swapped))
    empty = SharedMasks({}, shared.sha256, shared.size)
    with pytest.raises(CardError, match="not among the deck's shared masks"):
        card_from_bytes(data, shared=empty)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda d: b""]
)
def test_a_damaged_file_of_masks_is_refused_by_name(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    path = next(folder.glob("masks-*"))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DeckError, match=f"{path.name} has SHA-256"):
        read_deck(folder)
    path.unlink()
    with pytest.raises(DeckError, match=f"{path.name} is missing"):
        read_deck(folder)


def _changed(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> bytes:
    entries, metadata = tensorfile.decode(masks_bytes({mask_key(m): m for m in fake_card("card").masks.values()}))
    specs = json.loads(metadata["masks"])
    change(dict(entries) | {"": entries}, specs)
    return tensorfile.encode(entries, {**metadata, "masks": json.dumps(specs)})


def _first(field: str, value: object) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda entries, specs: specs[next(iter(specs))].update({field: value})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_first("shape", [1 << 14, 1 << 14]), "declares .* weights, more than"),
        (_first("shape", [8, 9]), "must keep|gaps|reaches|hold|keep"),
        (_first("shape", None), "has shape"),
        (_first("kept", -1), "must keep 0 to"),
        (_first("kept", 1.5), "must keep 0 to"),
        (_first("coding", "magic"), "coding 'magic' is unknown"),
        (_first("extra", 1), "must be described by"),
        (lambda e, specs: specs.pop(next(iter(specs))), "not described one by one"),
        (lambda e, specs: specs.update(other=specs.pop(next(iter(specs)))), "not described one by one"),
    ],
)
def test_a_wrong_file_of_masks_is_refused(change: Callable[[Any, Any], None], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        masks_from_bytes(_changed(change))


def test_a_mask_under_another_name_is_refused() -> None:
    entries, metadata = tensorfile.decode(masks_bytes({mask_key(m): m for m in fake_card("card").masks.values()}))
    first = next(iter(entries))
    renamed = {("0" * 16 if key == first else key): array for key, array in entries.items()}
    specs = {("0" * 16 if key == first else key): spec for key, spec in json.loads(metadata["masks"]).items()}
    with pytest.raises(ValueError, match="not the one that its name says"):
        masks_from_bytes(tensorfile.encode(renamed, {**metadata, "masks": json.dumps(specs)}))


def test_packed_masks() -> None:
    mask = np.random.default_rng(0).random((3, 5)) < 0.5
    packed = PackedMask.of(mask)
    np.testing.assert_array_equal(packed.mask(), mask)
    assert packed.kept == int(mask.sum())
    assert PackedMask((2, 2), 4, None).mask().all()
