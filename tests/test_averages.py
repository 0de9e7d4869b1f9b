"""Averages of cards: the sums by hand, and their small files in a deck, rebuilt bit for bit or refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from families import average_record, blend, family, statistics_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cards_deck import files, tensorfile
from cards_deck.averages import (
    average_bytes,
    average_from_bytes,
    averaged_card,
    is_average,
    rounded_statistics,
    statistics_names,
)
from cards_deck.card import Card, CardRecord, as_stored, card_bytes, card_from_bytes
from cards_deck.errors import CardError
from cards_deck.inference.fake_deck import fake_card

CARDS = family()
BY_ID = {card.id: card for card in CARDS}
HALF = blend(CARDS[:2], (0.5, 0.5), "half")
LIGHT = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def same_tensors(one: Card, other: Card) -> bool:
    """Whether both hold the same values and masks, bit for bit."""
    return set(one.tensors) == set(other.tensors) and all(
        one.tensors[name].tobytes() == other.tensors[name].tobytes() for name in one.tensors
    ) and all(np.array_equal(one.masks[name], other.masks[name]) for name in {*one.masks, *other.masks})  # fmt: skip


def test_the_average_by_hand() -> None:
    """Weights: the mean, then rounded to half precision where they are pruned; statistics: what was handed in."""
    base, tuned = CARDS[:2]
    card = blend([base, tuned], (0.25, 0.75))
    one, other, made = base.tensors, tuned.tensors, card.tensors
    exact = 0.25 * one["head.bias"].astype(np.float64) + 0.75 * other["head.bias"].astype(np.float64)
    np.testing.assert_array_equal(made["head.bias"], exact.astype(np.float32))
    weight = 0.25 * one["conv.weight"].astype(np.float64) + 0.75 * other["conv.weight"].astype(np.float64)
    np.testing.assert_array_equal(made["conv.weight"], weight.astype(np.float32).astype(np.float16))
    np.testing.assert_array_equal(card.masks["conv.weight"], base.masks["conv.weight"])
    for name, wanted in statistics_of(base).items():
        np.testing.assert_allclose(made[name], wanted, rtol=2**-11)
    assert made["bn.weight"][0] == np.float32(0.25 * float(one["bn.weight"][0]) + 0.75 * float(other["bn.weight"][0]))


def test_without_statistics_the_parents_are_averaged() -> None:
    card = averaged_card("plain", average_record(CARDS[:2], (0.5, 0.5)), CARDS[:2], {})
    expected = (CARDS[0].tensors["bn.running_var"].astype(np.float64) + CARDS[1].tensors["bn.running_var"]) / 2
    np.testing.assert_array_equal(card.tensors["bn.running_var"], expected.astype(np.float32))


def test_the_union_of_masks_is_what_either_keeps() -> None:
    one, other = fake_card("one"), fake_card("other", seed=9)
    kept = sum(int((one.masks[name] | other.masks[name]).sum()) for name in one.masks)
    record = average_record([one, other], (0.5, 0.5), density=kept / one.num_weights)
    card = averaged_card("union", record, [one, other], {})
    for name in one.masks:
        np.testing.assert_array_equal(card.masks[name], one.masks[name] | other.masks[name])
    lone = one.masks["conv.weight"] & ~other.masks["conv.weight"]
    np.testing.assert_array_equal(card.tensors["conv.weight"][lone], one.tensors["conv.weight"][lone] / 2)


def test_a_card_without_a_mask_makes_the_average_whole() -> None:
    pruned = fake_card("pruned")
    masks = {name: mask for name, mask in pruned.masks.items() if name != "head.weight"}
    kept = pruned.num_kept + int((~pruned.masks["head.weight"]).sum())
    record = dataclasses.replace(pruned.record, seed=3, density=kept / pruned.num_weights)
    whole = Card("whole", record, pruned.graph, dict(pruned.tensors), masks)
    mean = average_record([pruned, whole], (0.5, 0.5), density=kept / pruned.num_weights)
    assert set(averaged_card("mean", mean, [pruned, whole], {}).masks) == {"stem.weight", "conv.weight"}


def test_an_average_is_a_card_like_any_other() -> None:
    assert HALF.averaged
    assert not CARDS[0].averaged
    alone = card_from_bytes(card_bytes(HALF))
    assert same_tensors(alone, HALF)
    assert same_tensors(as_stored(HALF), HALF)
    assert (alone.id, alone.averaged) == (HALF.id, True)


def test_the_small_file_gives_the_same_card() -> None:
    data = average_bytes(HALF)
    again = average_from_bytes(data, "half", BY_ID)
    assert same_tensors(again, HALF)
    assert (again.name, again.record, again.graph) == (HALF.name, HALF.record, HALF.graph)
    assert average_bytes(again) == data
    assert is_average(data)
    assert not is_average(card_bytes(HALF))
    assert not is_average(b"")


def test_statistics_are_halved_only_where_that_keeps_eleven_bits() -> None:
    exact = {"small": np.array([0.1, 2.0**-14], np.float32), "tiny": np.array([0.1, 1e-5], np.float32)}
    exact["huge"] = np.array([1e5], np.float32)
    rounded = rounded_statistics(exact)
    np.testing.assert_array_equal(rounded["small"], exact["small"].astype(np.float16))
    for name in ("tiny", "huge"):
        np.testing.assert_array_equal(rounded[name], exact[name])
    wide = {name: array * np.float32(1e6) for name, array in statistics_of(CARDS[0]).items()}
    card = averaged_card("wide", average_record(CARDS[:2], (0.5, 0.5)), CARDS[:2], wide)
    assert same_tensors(average_from_bytes(average_bytes(card), "wide", BY_ID), card)


@pytest.mark.parametrize(
    ("coefficients", "says"),
    [
        ([0.5, 0.6], "sum to 1"),
        ([0.5, 0.5 - 1e-6], "sum to 1"),
        ([0.5], "sum to 1"),
        ([1.0], "numbers in"),
        ([0.0, 1.0], "numbers in"),
        ([1.5, -0.5], "numbers in"),
        ([float("nan"), 0.5], "numbers in"),
        ([float("inf"), 0.5], "numbers in"),
        (["0.5", "0.5"], "numbers in"),
        ([True, False], "numbers in"),
        ("half", "must be a list"),
        (None, "must be a list"),
        ([], "sum to 1"),
        ([0.25, 0.25, 0.5], "one coefficient for each"),
    ],
)
def test_wrong_coefficients_are_refused(coefficients: Any, says: str) -> None:
    method = {"name": "average", "coefficients": coefficients, "batch_norm": {}}
    with pytest.raises(CardError, match=says):
        dataclasses.replace(HALF.record, method=method)


def test_a_parent_counts_once() -> None:
    with pytest.raises(CardError, match="distinct parents"):
        dataclasses.replace(HALF.record, parents=(CARDS[0].id, CARDS[0].id))


def test_a_quantized_average_is_no_average() -> None:
    record = dataclasses.replace(HALF.record, bits=8, parents=(HALF.id,), quantizer={"name": "int8"})
    assert not record.averaged


def test_parents_that_do_not_fit_are_refused() -> None:
    record = average_record(CARDS[:2], (0.5, 0.5))
    with pytest.raises(CardError, match="its parents must be the cards"):
        averaged_card("other", record, CARDS[1:3], {})
    with pytest.raises(CardError, match="its parent 'half' is an average"):
        blend([CARDS[2], HALF], (0.5, 0.5))
    wide = fake_card("wide", classes=12)
    with pytest.raises(CardError, match="different networks"):
        blend([CARDS[0], wide], (0.5, 0.5))
    with pytest.raises(CardError, match="statistics are not those of its graph"):
        averaged_card("few", record, CARDS[:2], {"bn.running_mean": np.zeros(8, np.float32)})


Change = Callable[[dict[str, Any], dict[str, str]], None]


def _changed(change: Change, card: Card = HALF) -> bytes:
    entries, metadata = tensorfile.decode(average_bytes(card))
    change(entries, metadata)
    return tensorfile.encode(entries, metadata)


def _record(**fields: Any) -> Change:
    """Another record, unchecked: what a hostile file may say."""

    def change(entries: dict[str, Any], metadata: dict[str, str]) -> None:
        metadata["record"] = files.canonical_json(json.loads(metadata["record"]) | fields)

    return change


def _coefficients(*weights: float) -> Change:
    return _record(method={"name": "average", "coefficients": list(weights), "batch_norm": {"images": 0}})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda e, m: m.update(format="cards-deck/card"), "must be 'cards-deck/average'"),
        (lambda e, m: m.update(version="2"), "must be 'cards-deck/average' of version 1"),
        (lambda e, m: m.update(more=""), "missing or unknown fields"),
        (lambda e, m: m.pop("content"), "missing or unknown fields"),
        (lambda e, m: m.update(name="../x"), "name must be"),
        (lambda e, m: m.update(content="0" * 64), "do not give the weights"),
        (lambda e, m: e.pop("running_var"), "must hold running_mean and running_var"),
        (lambda e, m: e.update(more=np.zeros(1, np.float32)), "must hold running_mean"),
        (lambda e, m: e.update(running_var=e["running_var"][:-1]), "its running_var must be 8 floats"),
        (lambda e, m: e.update(running_mean=np.zeros((2, 4), np.float32)), "its running_mean must be 8 floats"),
        (lambda e, m: e.update(running_mean=np.zeros(8, np.int8)), "must be 8 floats, not int8"),
        (lambda e, m: e.update(running_mean=np.full(8, np.nan, np.float32)), "NaN or infinity"),
        (lambda e, m: e.update(running_var=e["running_var"] * 2), "do not give the weights"),
        (_coefficients(0.4, 0.6), "do not give the weights"),
        (_coefficients(0.5, 0.6), "sum to 1"),
        (_coefficients(1e308, 0.5), "numbers in"),
        (_coefficients(0.25, 0.25, 0.5), "one coefficient for each"),
        (_record(method={"name": "rigl"}), "not that of an average"),
        (_record(bits=8), "not that of an average"),
        (_record(bits=32), "do not give the weights"),
        (_record(density=0.9), "its record says"),
        (_record(parents=[CARDS[0].id, "0" * 12]), "its parent 000000000000 is not among the deck's cards"),
        (_record(parents=[CARDS[0].id, HALF.id]), f"its parent {HALF.id} is not among"),
        (_record(parents=[CARDS[1].id, CARDS[2].id]), "do not give the weights"),
        (_record(parents=[CARDS[0].id]), "one coefficient for each"),
        (_record(parents=[]), "one coefficient for each"),
        (_record(parents=[7, 8]), "parents must be card ids"),
        (lambda e, m: m.update(record="{}"), "exactly the fields"),
    ],
)
def test_a_changed_file_is_refused(change: Change, says: str) -> None:
    with pytest.raises(CardError, match=says) as caught:
        average_from_bytes(_changed(change), "here.safetensors", BY_ID)
    assert "here.safetensors" in str(caught.value)


@LIGHT
@given(st.integers(0, 10**6), st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_harmless(position: int, bit: int) -> None:
    """The digest covers all weights: what is still read has the same ones, under another name or record."""
    data = bytearray(average_bytes(HALF))
    data[position % len(data)] ^= 1 << bit
    try:
        card = average_from_bytes(bytes(data), "flipped", BY_ID)
    except CardError:
        return
    assert same_tensors(card, HALF)


@LIGHT
@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=4), st.booleans())
def test_any_coefficients_come_back_bit_for_bit(weights: list[float], wide: bool) -> None:
    cards = family(len(weights), bits=32 if wide else 16)
    card = blend(cards, [weight / sum(weights) for weight in weights])
    again = average_from_bytes(average_bytes(card), "again", {each.id: each for each in cards})
    assert same_tensors(again, card)
    assert CardRecord.from_json(again.record.to_json()) == card.record


def test_work_is_bounded() -> None:
    data, weights = average_bytes(HALF), CARDS[0].num_weights
    assert same_tensors(average_from_bytes(data, "half", BY_ID, limit=2 * weights), HALF)
    with pytest.raises(CardError, match="multiplications, more than"):
        average_from_bytes(data, "half", BY_ID, limit=2 * weights - 1)


def test_as_a_card_of_its_own_the_small_file_says_what_it_is() -> None:
    with pytest.raises(CardError, match=r"an average of other cards of its deck.*take one of those, or the deck"):
        card_from_bytes(average_bytes(HALF))


def test_names_of_statistics_follow_the_graph() -> None:
    assert statistics_names(CARDS[0].graph) == (("bn.running_mean",), ("bn.running_var",))


PLAIN_METHOD = {"name": "average", "coefficients": [0.5, 0.5], "batch_norm": {"name": "averaged"}}
PLAIN = averaged_card("plain", average_record(CARDS[:2], (0.5, 0.5), method=PLAIN_METHOD), CARDS[:2], {})


def test_averaged_statistics_take_no_bytes() -> None:
    data = average_bytes(PLAIN)
    assert tensorfile.decode(data)[0] == {}
    assert same_tensors(average_from_bytes(data, "plain", BY_ID), PLAIN)
    with pytest.raises(CardError, match="must hold no statistics"):
        average_from_bytes(_changed(lambda e, m: e.update(running_mean=np.zeros(8, np.float32)), PLAIN), "x", BY_ID)
    recomputed = _record(method=PLAIN_METHOD | {"batch_norm": {"name": "recomputed"}})
    with pytest.raises(CardError, match="must hold running_mean and running_var"):
        average_from_bytes(_changed(recomputed, PLAIN), "x", BY_ID)


def test_the_small_file_has_the_record_and_the_statistics_and_no_weights() -> None:
    record, statistics = len(HALF.record.to_json()), 2 * 2 * 8
    assert len(average_bytes(HALF)) - record - statistics < 600
    assert len(average_bytes(HALF)) < len(card_bytes(HALF)) / 2
