"""The guarded cascade in a deck with second looks: who joins, and which sets of cards may have run."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from gate_rows import SIZE, as_parts, known
from test_gates_guarded import guarded

from cards_deck.inference.gates import Known, build_gate
from cards_deck.inference.gates.guarded_cascade import GuardedCascadeGate
from cards_deck.spectrum import Floats

FAR = np.full((1, SIZE, SIZE // 2 + 1), 40, np.float32)


def with_looks() -> Known:
    """Cards 0 (plain), 1 and 2 (noise), the average 3 of 0 and 1; and second looks of 3 (4) and of 2 (5)."""
    four = known()
    shares = np.zeros((6, 6))
    shares[:4, :4] = four.parts
    shares[4], shares[5] = shares[3], shares[2]
    names = (*four.augmentations, "mixed", "noise")
    return dataclasses.replace(four, augmentations=names, parts=as_parts(shares), mirrored=(4, 5))


def gate_of(preference: list[float], most: int) -> GuardedCascadeGate:
    """Of these preferences of the first three cards, never sure."""
    old = guarded([*preference, 0], most).config
    wide: dict[str, Floats] = {
        "weights": np.zeros((1, 6), np.float32),
        "bias": np.concatenate([old.arrays["bias"], [0, 0]]).astype(np.float32),
        "temperatures": np.ones(6, np.float32),
        "sets": np.zeros((0, 6), np.float32),
    }
    gate = build_gate(dataclasses.replace(old, arrays={**old.arrays, **wide}), with_looks())
    assert isinstance(gate, GuardedCascadeGate)
    return gate


@pytest.mark.parametrize(
    ("preference", "order"),
    [
        ([0.4, 0.45, 0.15], [3, 4, 1, 0, 2, 5]),  # the average and its look; 1 and 0; 2 and its look
        ([0.1, 0.4, 0.5], [2, 5, 0, 1, 3, 4]),
        ([0.7, 0.1, 0.2], [0, 2, 5, 1, 3, 4]),  # 0 has none; 2 is of another augmentation, and has one
    ],
)
def test_a_second_look_of_those_that_ran_joins_before_others(preference: list[float], order: list[int]) -> None:
    for most in range(1, 7):
        assert np.flatnonzero(gate_of(preference, most).route(FAR).weights[0]).tolist() == sorted(order[:most])


def test_both_looks_weigh_alike() -> None:
    gate = gate_of([0.4, 0.45, 0.15], 2)
    np.testing.assert_allclose(gate.route(FAR).weights[0], [0, 0, 0, 0.5, 0.5, 0], atol=1e-6)
    ran = np.array([[False, False, True, False, False, True]])
    np.testing.assert_allclose(gate.sharing(np.full((1, 6), 1 / 6, np.float32), ran), [[0, 0, 0.5, 0, 0, 0.5]])


def test_every_set_that_may_run_before_another_card_is_asked_is_known() -> None:
    """Those of a gate that is never sure, over preferences of all orders."""
    tenths = [one for one in itertools.product(range(1, 9), repeat=3) if sum(one) == 10]
    orders = np.array([(*one, 0, 0, 0) for one in tenths], np.float32) / np.float32(10)
    for most in range(1, 7):
        gate = gate_of([0.4, 0.4, 0.2], most)
        possible = gate.possible_sets()
        assert possible is not None
        assert len(np.unique(possible, axis=0)) == len(possible)
        sets = {tuple(one) for one in possible.tolist()}
        assert {tuple(one) for one in gate.named_sets(orders).tolist()} <= sets
        assert {sum(one) for one in sets} == set(range(1, max(most, 2)))
        for one in sets:  # the average is alone, or its second look ran as well, unless it joined where all others had
            assert sum(one) in (1, 5) or one[3] == one[4]


def test_cards_of_the_same_parts_that_see_images_alike_are_no_second_looks() -> None:
    """Such as two averages with other batch-norm statistics."""
    known_before = with_looks()
    gate = gate_of([0.4, 0.45, 0.15], 2)
    assert np.flatnonzero(gate.route(FAR).weights[0]).tolist() == [3, 4]
    other = build_gate(gate.config, dataclasses.replace(known_before, mirrored=(5,)))
    assert np.flatnonzero(other.route(FAR).weights[0]).tolist() == [1, 3]
