"""Files of version 1, as the first release wrote them, give the same card; version 2 is smaller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cards_deck import tensorfile
from cards_deck.card import Card, card_bytes, card_from_bytes
from cards_deck.deck import read_deck, write_deck
from cards_deck.errors import CardError
from cards_deck.inference.fake_deck import fake_card, fake_deck


def version_1(card: Card, **changed: Any) -> bytes:
    """The card's file as version 1 had it: bitmaps, plain values, and the shapes of the pruned tensors."""
    entries: dict[str, Any] = {}
    for name, array in card.tensors.items():
        if name in card.masks:
            entries[f"{name}.mask"] = np.packbits(card.masks[name].ravel())
            entries[f"{name}.values"] = array[card.masks[name]].astype(f"float{card.record.bits}")
        else:
            entries[name] = array
    shapes = {name: list(card.tensors[name].shape) for name in card.masks}
    metadata = {
        "format": "cards-deck/card",
        "version": "1",
        "name": card.name,
        "record": card.record.to_json(),
        "graph": card.graph.to_json(),
        "shapes": json.dumps(shapes),
    }
    return tensorfile.encode({**entries, **changed}, metadata)


@pytest.mark.parametrize("bits", [16, 32])
def test_version_1_gives_the_same_card(bits: int) -> None:
    card = fake_card("card", bits=bits)
    again = card_from_bytes(version_1(card))
    assert (again.id, again.name, again.graph, again.density) == (card.id, card.name, card.graph, card.density)
    assert card_bytes(again) == card_bytes(card)
    for name, array in card.tensors.items():
        assert again.tensors[name].tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"head.weight.mask": np.zeros(9, np.uint8)}, "must hold 10 bytes"),
        ({"head.weight.mask": np.full(10, 255, np.uint8)}, "does not keep the"),
        ({"head.weight.values": np.zeros(3, np.float16)}, "does not keep the 3 weights"),
        ({"head.weight.values": np.zeros(3, np.float32)}, "does not keep|must be float16"),
        ({"head.weight": np.zeros(3, np.float32)}, "not also packed"),
    ],
)
def test_a_broken_file_of_version_1_is_refused(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(CardError, match=says):
        card_from_bytes(version_1(fake_card("card"), **changed))


def test_a_deck_of_version_1_is_read(tmp_path: Path) -> None:
    deck = fake_deck()
    folder = write_deck(deck, tmp_path / "deck")
    manifest = json.loads((folder / "deck.json").read_text())
    assert manifest.pop("masks") == {}
    (folder / "deck.json").write_text(json.dumps({**manifest, "schema_version": 1}))
    assert [card.id for card in read_deck(folder).cards] == [card.id for card in deck.cards]
