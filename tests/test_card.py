"""Cards: round trips through their packed form and their files, and inconsistent ones refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cards_deck.card import Card, as_stored, card_bytes, read_card, write_card
from cards_deck.errors import CardError
from cards_deck.inference.fake_deck import fake_card
from cards_deck.packing import pack, unpack

LIGHT = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def _masked(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], int]:
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    bits, density = draw(st.sampled_from([16, 32])), draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    special = [0.0, -0.0, 65504.0, -65504.0, 6e-8, 1e-4, 1.0]  # the ends of what 16 bits hold
    values = np.where(rng.random(shape) < 0.3, rng.choice(special, shape), rng.normal(size=shape))
    values = values.astype(np.float16 if bits == 16 else np.float32).astype(np.float32)
    mask = np.asarray(rng.random(shape) < density)
    return {"w": np.where(mask, values, np.float32(0)), "b": rng.normal(size=3).astype(np.float32)}, {"w": mask}, bits


@LIGHT
@given(_masked())
def test_packing_loses_nothing(given_case: tuple[dict[str, Any], dict[str, Any], int]) -> None:
    tensors, masks, bits = given_case
    entries, specs = pack(tensors, masks, {}, bits)
    assert set(entries) == {"w.mask", "w.values", "b"}
    found = unpack(entries, specs, bits, limit=1000)
    np.testing.assert_array_equal(found.masks["w"], masks["w"])
    for name, array in tensors.items():
        assert found.tensors[name].tobytes() == array.tobytes()
    again, specs_again = pack(found.tensors, found.masks, {}, bits)
    assert {name: array.tobytes() for name, array in again.items()} == {n: a.tobytes() for n, a in entries.items()}
    assert specs_again == specs


@st.composite
def _quantized(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], int]:
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    bits, density = draw(st.sampled_from([1, 2, 8])), draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    largest = 127 if bits == 8 else 1
    codes = rng.choice([-1, 1], shape) if bits == 1 else rng.integers(-largest, largest + 1, shape)
    scale = np.exp(rng.normal(0, 5, draw(st.sampled_from([1, shape[0]])))).astype(np.float32)
    values = codes.astype(np.int8) * scale.reshape(-1, *[1] * (len(shape) - 1))
    mask = np.asarray(rng.random(shape) < density)
    masks = {"w": mask} if draw(st.booleans()) else {}
    kept = np.where(mask, values, np.float32(0)) if masks else values
    other = np.where(mask, rng.normal(size=shape).astype(np.float16), 0).astype(np.float32)
    return {"w": kept, "v": other, "b": np.ones(2, np.float32)}, {**masks, "v": mask}, {"w": scale}, bits


@LIGHT
@given(_quantized())
def test_packing_quantized_weights_loses_nothing(
    given_case: tuple[dict[str, Any], dict[str, Any], dict[str, Any], int],
) -> None:
    tensors, masks, scales, bits = given_case
    entries, specs = pack(tensors, masks, scales, bits)
    assert {spec["kind"] for spec in specs.values()} == {{8: "int8", 2: "ternary", 1: "sign"}[bits], "float16"}
    found = unpack(entries, specs, bits, limit=2000)
    assert set(found.masks) == set(masks)
    np.testing.assert_array_equal(found.scales["w"], scales["w"])
    for name, array in tensors.items():
        assert found.tensors[name].tobytes() == array.tobytes()
    for name, mask in masks.items():
        np.testing.assert_array_equal(found.masks[name], mask)


@pytest.mark.parametrize("bits", [16, 32])
def test_write_read_write_gives_the_same_bytes(tmp_path: Path, bits: int) -> None:
    card = fake_card("card", bits=bits)
    digest = write_card(card, tmp_path / "card.safetensors")
    again = read_card(tmp_path / "card.safetensors", sha256=digest)
    assert write_card(again, tmp_path / "again.safetensors") == digest
    assert (again.name, again.id, again.graph) == (card.name, card.id, card.graph)
    assert (again.density, again.num_kept, again.num_weights) == (card.density, card.num_kept, card.num_weights)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.safetensors", "card.safetensors"]


def test_sixteen_bits_round_once() -> None:
    card = fake_card("card", bits=16)
    array = np.where(card.masks["head.weight"], np.float32(1 / 3), np.float32(0))
    rough = dataclasses.replace(card, tensors={**card.tensors, "head.weight": array})
    stored = as_stored(rough)
    np.testing.assert_array_equal(stored.tensors["head.weight"], array.astype(np.float16).astype(np.float32))
    assert card_bytes(stored) == card_bytes(rough)


def test_a_value_beyond_sixteen_bits_is_refused() -> None:
    card = fake_card("card", bits=16)
    array = np.where(card.masks["head.weight"], np.float32(1e6), np.float32(0))
    with pytest.raises(CardError, match=r"'head\.weight' does not fit in 16 bits"):
        card_bytes(dataclasses.replace(card, tensors={**card.tensors, "head.weight": array}))


def test_a_kept_zero_stays_kept() -> None:
    card = fake_card("card")
    array = card.tensors["head.weight"].copy()
    array[np.nonzero(card.masks["head.weight"])] = 0
    zeroed = as_stored(dataclasses.replace(card, tensors={**card.tensors, "head.weight": array}))
    np.testing.assert_array_equal(zeroed.masks["head.weight"], card.masks["head.weight"])
    assert zeroed.num_kept == card.num_kept


def test_what_a_look_up_gives_is_ones_own() -> None:
    card = as_stored(fake_card("card"))
    card.tensors["head.weight"][:] = 7
    card.tensors["head.bias"][:].flags.writeable = True
    assert not (card.tensors["head.weight"] == 7).any()
    assert len(card.tensors) == len(list(card.tensors)) == 8
    assert len(card.masks) == len(list(card.masks)) == 3


def _with(card: Card, **fields: Any) -> Card:
    return dataclasses.replace(card, **fields)


def _tensor(card: Card, name: str, array: Any) -> Card:
    return _with(card, tensors={**card.tensors, name: array})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: _with(c, name="../card"), "name must be"),
        (lambda c: _with(c, name=""), "name must be"),
        (lambda c: _tensor(c, "head.bias", np.zeros(10)), "must be float32, not float64"),
        (lambda c: _tensor(c, "head.bias", np.full(10, np.nan, np.float32)), "NaN or infinity"),
        (lambda c: _tensor(c, "head.weight", np.ones((10, 8), np.float32)), "not zero where its mask is"),
        (lambda c: _tensor(c, "spare", np.zeros(1, np.float32)), "'spare', which its graph does not use"),
        (lambda c: _with(c, tensors={}), "which the card does not hold"),
        (lambda c: _with(c, masks={**c.masks, "bn.weight": np.ones(8, np.bool_)}), "not of a conv or linear weight"),
        (lambda c: _with(c, masks={**c.masks, "head.weight": np.ones(80, np.bool_)}), "must be bool of shape"),
        (lambda c: _with(c, masks={**c.masks, "head.weight": c.masks["head.weight"].astype(np.uint8)}), "must be bool"),
        (lambda c: _with(c, record=dataclasses.replace(c.record, density=0.9)), "its record says 0.9"),
        (lambda c: _with(c, masks={}), "its record says"),
    ],
)
def test_an_inconsistent_card_is_refused(change: Callable[[Card], Card], says: str) -> None:
    with pytest.raises(CardError, match=says):
        change(fake_card("card"))
