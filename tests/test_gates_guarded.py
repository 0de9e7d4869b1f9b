"""The guarded cascade: who is asked next, and from how sure on an answer stands."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from gate_rows import CLASSES, SIZE, as_parts, known, observed

from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates import BaseGate, Known, Observed, UniformGate, build_gate, decide, fit_gate, judge
from cards_deck.inference.gates import guarded_cascade as module
from cards_deck.inference.gates._base import shares
from cards_deck.inference.gates._likelihood import worst_temperatures
from cards_deck.inference.gates._profile import ring_count
from cards_deck.inference.gates._risk import NEVER, RISKS, sure_enough
from cards_deck.inference.gates.guarded_cascade import GuardedCascadeGate
from cards_deck.inference.pooling import combine
from cards_deck.spectrum import Floats

AVERAGE = UniformGate(GateConfig("uniform", max_cards=4), known())
SPECTRA = np.zeros((1, SIZE, SIZE // 2 + 1), np.float32)
NO_SETS = {
    "sets": np.zeros((0, 4), np.float32),
    "risks": np.array([0, 0.01], np.float32),
    "enough": np.zeros((2, 0), np.float32),
}


def ordinary() -> dict[str, Floats]:
    """Of spectra that are all as strange as they are far from 0."""
    rings = ring_count(SIZE)
    return {"ordinary": np.zeros(rings, np.float32), "whitening": np.eye(rings, dtype=np.float32)}


def guarded(preference: list[float], most: int, risk: float = 0.005, trust: float = 0.75, **arrays: Floats) -> BaseGate:
    """Of these preferences whatever the spectrum, never sure unless `arrays` say when."""
    fixed = {
        **ordinary(),
        "weights": np.zeros((1, 4), np.float32),
        "bias": np.log(np.maximum(np.array(preference, np.float32), 1e-9)),
        "temperatures": np.ones(4, np.float32),
    }
    config = GateConfig(
        "guarded_cascade",
        max_cards=most,
        parameters={"risk": risk, "trust": trust},
        arrays={**fixed, **NO_SETS, **arrays},
    )
    return build_gate(config, known())


def asked(gate: BaseGate, logits: Floats | None = None) -> list[int]:
    """The cards that answer one image."""
    logits = np.zeros((4, 1, CLASSES), np.float32) if logits is None else logits
    return np.flatnonzero(decide(gate, SPECTRA, lambda card, rows: logits[card, rows]).weights[0]).tolist()


@pytest.mark.parametrize(
    ("preference", "order"),
    [
        ([0.4, 0.45, 0.15, 0.0], [3, 1, 0, 2]),  # the average of 0 and 1 stands for both; then those that are none
        ([0.1, 0.4, 0.5, 0.0], [2, 0, 1, 3]),  # 1 is preferred to 0, but of the augmentation of 2
        ([0.7, 0.1, 0.2, 0.0], [0, 2, 1, 3]),
    ],
)
def test_who_is_asked_first_stands_for_the_preferred_and_who_joins_is_of_another_augmentation(
    preference: list[float], order: list[int]
) -> None:
    far = np.full((1, SIZE, SIZE // 2 + 1), 40, np.float32)
    for most in range(1, 5):
        gate = guarded(preference, most)
        assert asked(gate) == sorted(order[:most])
        assert np.flatnonzero(gate.route(far).weights[0]).tolist() == sorted(order[:most])


def test_an_average_stands_for_its_parts_as_far_as_it_has_them() -> None:
    """Nine tenths of card 0, which is plain, and one of 1, which like 2 is of noise. By augmentation the third powers
    of the preferences are as 1 to 1, 27 to 1, and 0 to 1."""
    shares = np.eye(4)
    shares[3] = (0.9, 0.1, 0, 0)
    gate = build_gate(guarded([0.25] * 4, 2).config, dataclasses.replace(known(), parts=as_parts(shares)))
    assert isinstance(gate, GuardedCascadeGate)
    preference = np.array([[0.5, 0.5, 0, 0], [0.75, 0.25, 0, 0], [0, 0.4, 0.6, 0]], np.float32)
    standing = np.array(
        [
            [0.5, 0.5, (0 + 0.5) / 2, 0.6],
            [27 / 28, 1 / 28, (0 + 1 / 28) / 2, 0.9 + 1 / 28],
            [0, (0.4 + 1) / 2, (0.6 + 1) / 2, 0.1],
        ]
    )
    np.testing.assert_allclose(gate.standing(preference), standing, atol=1e-5)
    np.testing.assert_array_equal(gate.first(preference).argmax(axis=1), [3, 0, 2])


def test_of_a_preferred_augmentation_the_average_of_its_cards_is_asked_before_them() -> None:
    """And one that has all augmentations where neither is much preferred."""
    names, parts = ("plain", "plain", "noise", "plain", "mixed"), np.eye(5)
    parts[3], parts[4] = (0.5, 0.5, 0, 0, 0), (0.25, 0.25, 0.5, 0, 0)
    arrays = {
        **guarded([0.25] * 4, 2).config.arrays, "weights": np.zeros((1, 5), np.float32),
        "bias": np.zeros(5, np.float32), "temperatures": np.ones(5, np.float32), "sets": np.zeros((0, 5), np.float32),
    }  # fmt: skip
    config = GateConfig("guarded_cascade", max_cards=4, arrays=arrays)
    gate = build_gate(config, Known(known().references, names, (0, 1, 2), as_parts(parts)))
    assert isinstance(gate, GuardedCascadeGate)
    preference = np.array([[0.4, 0.4, 0.2, 0, 0], [0.26, 0.26, 0.48, 0, 0], [0.2, 0.1, 0.7, 0, 0]], np.float32)
    np.testing.assert_array_equal(gate.first(preference).argmax(axis=1), [3, 4, 2])
    speaking = [[0.8, 0.8, 0.2, 0.8, 0.5 + 0.2], [0.52, 0.52, 0.48, 0.52, 0.5 + 0.48], [0.3, 0.3, 0.7, 0.3, 0.3 + 0.5]]
    np.testing.assert_allclose(gate.speaking(preference), speaking, rtol=1e-5)


def test_spectra_prefer_no_average() -> None:
    found = guarded([0.2, 0.1, 0.1, 0.6], 2).read(SPECTRA).preference
    np.testing.assert_allclose(found, [[0.5, 0.25, 0.25, 0]], rtol=1e-6)


def test_without_trust_or_where_the_spectrum_is_unknown_unsure_answers_end_in_the_plain_average() -> None:
    """Of three cards, two of which are of one augmentation, where no average was asked first."""
    preference, nobody = [0.7, 0.1, 0.2, 0.0], np.zeros((4, 1, CLASSES), np.float32)
    far = np.full_like(SPECTRA, 40)
    for spectra, trust in ((SPECTRA, 0.0), (far, 0.0), (far, 1.0)):
        done = decide(guarded(preference, 3, trust=trust), spectra, lambda card, rows: nobody[card, rows])
        np.testing.assert_allclose(done.weights, [[1 / 3, 1 / 3, 1 / 3, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("ran", "alone", "trusted"),
    [
        # Preferred: plain 0.7, noise 0.3; in the plain average 1/3 and 2/3.
        ([1, 1, 1, 0], [1 / 3, 1 / 3, 1 / 3, 0], [0.7, 0.15, 0.15, 0]),
        ([1, 1, 0, 0], [1 / 3, 2 / 3, 0, 0], [0.7, 0.3, 0, 0]),
        ([0, 1, 1, 0], [0, 0.5, 0.5, 0], [0, 0.5, 0.5, 0]),
        # The average is half a card of each: a third of what is wanted of plain, as card 0 is two thirds of it.
        ([1, 0, 0, 1], [1 / 3 * 2 / 3, 0, 0, 1 / 3 * 1 / 3 + 2 / 3], [0.7 * 2 / 3, 0, 0, 0.7 / 3 + 0.3]),
        ([0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]),
    ],
)
def test_augmentations_share_an_answer_and_within_each_its_cards(
    ran: list[int], alone: list[float], trusted: list[float]
) -> None:
    preference, chosen = np.array([[0.7, 0.1, 0.2, 0]], np.float32), np.array([ran], np.bool_)
    gate = guarded([0.25] * 4, 4, trust=1.0)
    assert isinstance(gate, GuardedCascadeGate)
    np.testing.assert_allclose(gate.believing(chosen), [alone], atol=1e-6)
    np.testing.assert_allclose(gate.sharing(preference, chosen), [trusted], atol=1e-6)
    half = guarded([0.25] * 4, 4, trust=0.5)
    assert isinstance(half, GuardedCascadeGate)
    wanted = np.array([0.5 * 0.7 + 0.5 / 3, 0.5 * 0.3 + 0.5 * 2 / 3])
    found = half.sharing(preference, np.array([[1, 1, 1, 0]], np.bool_))
    np.testing.assert_allclose(found, [[wanted[0], wanted[1] / 2, wanted[1] / 2, 0]], atol=1e-6)


def test_a_card_that_ran_keeps_some_weight_whatever_is_preferred() -> None:
    """Or it would not count among those that ran, of which it is asked how sure they are."""
    gate = guarded([0.25] * 4, 4, trust=1.0)
    assert isinstance(gate, GuardedCascadeGate)
    found = gate.sharing(np.array([[1, 0, 0, 0]], np.float32), np.array([[1, 1, 0, 0]], np.bool_))
    assert 0.999 < found[0, 0] < 1
    assert 0 < found[0, 1] < 1e-5


def test_each_set_of_cards_has_its_own_threshold_at_the_largest_risk_that_is_allowed() -> None:
    """Card 1's class is 0.8 ahead, and so is that of the mean of it and card 0; 3 is the average of 0 and 1."""
    logits = np.zeros((4, 1, CLASSES), np.float32)
    logits[:2, 0, 0] = np.log(13)  # of three classes: (13 - 1) / (13 + 1 + 1)
    sets = np.array([[0, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]], np.float32)
    enough = np.array([[0.9, 0.85, 0.0], [0.9, 0.79, 0.0], [0.79, 0.0, 0.0]], np.float32)
    rules = {"sets": sets, "risks": np.array([0, 0.01, 0.1], np.float32), "enough": enough}
    for risk, ran in ((0.0, [0, 1, 2]), (0.009, [0, 1, 2]), (0.01, [0, 1]), (0.09, [0, 1]), (0.1, [1]), (1.0, [1])):
        gate = guarded([0.1, 0.7, 0.2, 0.0], 4, risk, **rules)
        assert asked(gate, logits) == ran
    several = np.array([[0, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]], np.bool_)
    np.testing.assert_array_equal(gate.needed(several), np.float32([0.79, 0, NEVER, NEVER]))


def test_what_is_sure_enough_of_four_images() -> None:
    """The card loses the second and the fourth surest to the average and wins the third: with no loss allowed, only
    the first answer stands, which is farther ahead than the second; with one of four, all do."""
    label = np.zeros(4, np.int64)
    card = np.log(np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]], np.float32))
    other = np.log(np.array([[0.9, 0.1], [0.99, 0.01], [0.2, 0.8], [0.9, 0.1]], np.float32))
    rows = Observed(np.zeros((4, 8, 5), np.float16), np.stack([card, other]), label, np.zeros(4, np.int64), ("clean",))
    assert judge(UniformGate(GateConfig("uniform"), known(2)), rows).right.tolist() == [True, True, False, True]
    alone, both = np.array([[True, False], [True, True]])
    weights = shares(np.stack([alone, both]).astype(np.float32))
    found = sure_enough(rows, known(2), weights, np.ones(2, np.float32), (0.0, 0.24, 0.25))
    assert found[:, 0].tolist() == [np.nextafter(np.float32(0.8) - np.float32(0.2), np.float32(1))] * 2 + [0]
    assert found[:, 1].tolist() == [0, 0, 0]  # the average loses nothing to itself


def test_no_answer_that_is_sure_enough_loses_more_than_the_risk_in_any_cell() -> None:
    """Of every set of cards, at every risk and every higher threshold, as the gate itself stops them."""
    rows, temperatures = observed(seed=3), np.array([1, 2, 0.5, 3], np.float32)
    names = [one for size in (1, 2, 3) for one in itertools.combinations(range(4), size)]
    sets = np.array([[card in one for card in range(4)] for one in names])
    rules = {"sets": sets.astype(np.float32), "risks": np.array(RISKS, np.float32), "temperatures": temperatures}
    bare = guarded([0.25] * 4, 4)
    assert isinstance(bare, GuardedCascadeGate)
    found = sure_enough(rows, known(), bare.believing(sets), temperatures)
    assert (np.diff(found, axis=0) <= 0).all()
    plain, sizes, tight = judge(AVERAGE, rows).right, np.bincount(rows.cell), 0
    for risk in RISKS:
        gate = guarded([0.25] * 4, 4, risk, **rules, enough=found)
        for chosen in sets:
            ran = np.tile(chosen, (len(plain), 1))
            weights = bare.believing(ran)
            sure, needed = gate.sureness(weights, rows.logits), gate.needed(ran)
            lost = plain.astype(int) - (combine(rows.logits, weights).argmax(axis=1) == rows.labels)

            def costs(least: float, sure: Floats = sure, lost: Any = lost) -> float:
                return float((np.bincount(rows.cell[sure >= least], lost[sure >= least], 3) / sizes).max())

            assert all(costs(least) <= risk + 1e-8 for least in np.unique(sure) if least >= needed[0])
            if (sure < needed).any():
                tight += 1
                assert costs(sure[sure < needed].max()) > risk  # the next one would be too much
    assert tight > 100


def test_a_fit_spends_the_budget_by_its_risk() -> None:
    rows = observed(seed=1)
    gates = [fit_gate("guarded_cascade", rows, GateConfig(max_cards=3), known(), most_cards=n) for n in (1.2, 1.8, 2.6)]
    assert {gate.config.parameters["trust"] for gate in gates} == {GuardedCascadeGate.PARAMETERS["trust"]}
    cards = [judge(gate, rows).score.cards for gate in gates]
    assert cards == sorted(cards)
    assert all(found <= most for found, most in zip(cards, (1.2, 1.8, 2.6), strict=True))
    risks = [gate.config.parameters["risk"] for gate in gates]
    assert risks == sorted(risks, reverse=True)
    assert len(set(risks)) == 3
    np.testing.assert_array_equal(gates[0].config.arrays["temperatures"], worst_temperatures(rows))


def test_a_deck_of_one_card_or_of_one_augmentation_is_answered_by_its_first_card() -> None:
    rows = observed(seed=1, skill=np.array([[3.0, 3.0, 3.0], [0.1, 0.1, 0.1]]))
    alone = dataclasses.replace(rows, logits=rows.logits[:1])
    akin = dataclasses.replace(known(2), augmentations=("noise", "noise"))
    for several, cards in ((alone, known(1)), (rows, akin)):
        gate = fit_gate("guarded_cascade", several, GateConfig(max_cards=2), cards, most_cards=1.0)
        done = several.decide(gate)
        assert done.routing.weights[~done.routing.unknown, 0].min() == 1
        assert judge(gate, several).score.cards == 1


def test_every_set_that_may_run_before_another_card_is_asked_is_known() -> None:
    """Those of a gate that is never sure, over preferences of all orders: no set is missing, and few are too many."""
    tenths = [one for one in itertools.product(range(1, 9), repeat=3) if sum(one) == 10]
    orders = np.array([(*one, 0) for one in tenths], np.float32) / np.float32(10)
    for most in (1, 2, 3, 4):
        gate = guarded([0.25] * 4, most)
        assert isinstance(gate, GuardedCascadeGate)
        asked = {tuple(one) for one in gate.named_sets(orders).tolist()}
        possible = gate.possible_sets()
        assert possible is not None
        assert len(np.unique(possible, axis=0)) == len(possible)
        assert asked <= {tuple(one) for one in possible.tolist()}
        assert {sum(one) for one in asked} == set(range(1, max(most, 2)))
        wider = {tuple(one) for one in possible.tolist()} - asked
        # Both of one augmentation, or 2 after the average of 0 and 1, which is not asked before 2 where 1 is below it.
        assert all(one[2] and (one[1] or one[3]) for one in wider)


def test_of_very_many_cards_only_the_sets_that_spectra_name_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = observed(seed=1)
    fitted = fit_gate("guarded_cascade", rows, GateConfig(max_cards=3), known())
    monkeypatch.setattr(module, "MOST_SETS", 3)
    named = fit_gate("guarded_cascade", rows, GateConfig(max_cards=3), known())
    assert len(named.config.arrays["sets"]) < len(fitted.config.arrays["sets"])
    np.testing.assert_array_equal(judge(named, rows).right, judge(fitted, rows).right)
    many = GateConfig("guarded_cascade", max_cards=3, arrays={
        **ordinary(), "weights": np.zeros((1, 70), np.float32), "bias": np.zeros(70, np.float32),
        "temperatures": np.ones(70, np.float32), "risks": np.zeros(1, np.float32),
        "sets": np.eye(70, dtype=np.float32), "enough": np.linspace(0, 1, 70, dtype=np.float32)[None],
    })  # fmt: skip
    base = known()
    gate = build_gate(many, Known(base.references, ("noise",) * 70, tuple(range(70)), as_parts(np.eye(70))))
    np.testing.assert_array_equal(gate.needed(np.eye(70, dtype=np.bool_)), many.arrays["enough"][0])
    assert (gate.needed(~np.eye(70, dtype=np.bool_)) == NEVER).all()


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"sets": np.full((1, 4), 0.5, np.float32), "enough": np.zeros((2, 1), np.float32)}, "must be 0 or 1"),
        ({"sets": np.zeros((1, 4), np.float32), "enough": np.zeros((2, 1), np.float32)}, "each with a card"),
        ({"sets": np.ones((2, 4), np.float32), "enough": np.zeros((2, 2), np.float32)}, "no two alike"),
        ({"sets": np.ones((1, 4), np.float32), "enough": np.array([[0.5], [0.6]], np.float32)}, "less at a higher"),
        ({"sets": np.ones((1, 4), np.float32), "enough": np.array([[0.5], [-0.1]], np.float32)}, "from 0 to 2"),
        ({"risks": np.array([0.1, 0.2], np.float32)}, "must rise from 0"),
        ({"risks": np.array([0.0, 0.0], np.float32)}, "must rise from 0"),
    ],
)
def test_rules_that_make_no_sense_are_refused(arrays: dict[str, Floats], says: str) -> None:
    with pytest.raises(InputError, match=says):
        guarded([0.25] * 4, 2, **arrays)
