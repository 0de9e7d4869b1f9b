"""The reader under fire: bytes changed, cut, repeated and crafted are refused as CardError, in little memory."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest

from cards_deck import tensorfile
from cards_deck.card import card_bytes, card_from_bytes
from cards_deck.errors import CardError
from cards_deck.inference.fake_deck import fake_card
from cards_deck.masks import mask_key, masks_bytes, masks_from_bytes

CARD = fake_card("card")
SHARED = masks_from_bytes(masks_bytes({mask_key(mask): mask for mask in CARD.masks.values()}))
FILES = {"whole": card_bytes(CARD), "shared": card_bytes(CARD, SHARED)}
ROUNDS = 400
MEMORY = 32 << 20  # of a file of 5 kB: 1024 weights a byte, in one byte each and then in four


def _mutated(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        place = int(rng.integers(len(changed)))
        match int(rng.integers(6)):
            case 0:
                changed[place] = int(rng.integers(256))
            case 1:
                changed[place] ^= 1 << int(rng.integers(8))
            case 2:
                del changed[place : place + int(rng.integers(1, 40))]
            case 3:
                changed[place:place] = changed[place : place + int(rng.integers(1, 40))]
            case 4:
                changed[place : place + 8] = rng.integers(0, 256, 8, np.uint8).tobytes()
            case _:
                changed[place : place + 1] = b"9" if chr(changed[place]).isdigit() else b"\xff"
        if not changed:
            return b""
    return bytes(changed)


def _reads(data: bytes) -> bool:
    """Whether the bytes are a card; a CardError naming them is the only way in which they may not be."""
    try:
        card = card_from_bytes(data, "fuzzed", SHARED)
    except CardError as error:
        if "fuzzed" not in str(error):
            raise
        return False
    assert all(np.isfinite(array).all() for array in card.tensors.values())
    return True


@pytest.mark.parametrize("kind", FILES)
def test_changed_bytes_are_refused_or_another_card(kind: str) -> None:
    rng = np.random.default_rng(5)
    tracemalloc.start()
    read = [_reads(_mutated(FILES[kind], rng)) for _ in range(ROUNDS)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not all(read)
    assert peak < MEMORY


@pytest.mark.parametrize("kind", FILES)
def test_changed_values_of_a_valid_container_are_refused_or_another_card(kind: str) -> None:
    """Past the container's own checks: one entry or one field of the metadata is replaced at a time."""
    rng = np.random.default_rng(6)
    entries, metadata = tensorfile.decode(FILES[kind])
    tracemalloc.start()
    for _ in range(ROUNDS):
        tensors, texts = dict(entries), dict(metadata)
        if rng.random() < 0.4:
            name = str(rng.choice(sorted(tensors)))
            raw = tensors[name].tobytes()
            changed = _mutated(raw, rng) if raw else b"\x00"
            dtype = tensors[name].dtype if len(changed) % tensors[name].itemsize == 0 else np.dtype(np.uint8)
            array = np.frombuffer(changed, dtype)
            tensors[name] = array.reshape(tensors[name].shape) if array.size == tensors[name].size else array
        elif rng.random() < 0.5:
            texts["packed"] = json.dumps(_odd(json.loads(texts["packed"]), rng))
        else:
            name = str(rng.choice(sorted(texts)))
            texts[name] = _mutated(texts[name].encode() or b"x", rng).decode("latin-1")
        _reads(tensorfile.encode(tensors, texts))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY


ODD = (None, True, 0, -1, 1, 80, 81, 1 << 28, 1 << 62, 10**400, 1.5, "", "rice", "float32", [], {}, [0], [8, 10],
       [1 << 20, 1 << 8], [-1, -80], {"coding": "delta"}, {"coding": {}}, {"shared": ""}, [[1]])  # fmt: skip


def _odd(packed: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    name = str(rng.choice(sorted(packed)))
    value = ODD[int(rng.integers(len(ODD)))]
    if rng.random() < 0.1:
        packed[name] = value
    else:
        packed[name][str(rng.choice(["shape", "kept", "kind", "values", "mask", "more"]))] = value
    return packed


def test_the_masks_file_refuses_changed_bytes() -> None:
    rng = np.random.default_rng(7)
    data = masks_bytes({mask_key(mask): mask for mask in CARD.masks.values()})
    for _ in range(ROUNDS):
        changed = _mutated(data, rng)
        try:
            found = masks_from_bytes(changed)
        except ValueError:
            continue
        assert set(found.masks) == set(SHARED.masks)  # named by their content: nothing else can be read


def test_every_short_beginning_is_refused() -> None:
    for data in FILES.values():
        assert not any(_reads(data[:length]) for length in (*range(0, len(data), 61), len(data) - 1))


def test_a_small_file_cannot_declare_a_large_network() -> None:
    entries, metadata = tensorfile.decode(FILES["whole"])
    packed = json.loads(metadata["packed"])
    packed["head.weight"].update(shape=[1 << 12, 1 << 12], kept=0, mask={"coding": "delta"})
    tensors = {**entries, "head.weight.mask": np.zeros(0, np.uint8), "head.weight.values": np.zeros(0, np.float16)}
    with pytest.raises(CardError, match=r"more than the \d+ that its size allows"):
        card_from_bytes(tensorfile.encode(tensors, {**metadata, "packed": json.dumps(packed)}))
