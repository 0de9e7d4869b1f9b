"""The refereed cascade: whom it believes once its cards have answered."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
import scipy.optimize
from fitted_gates import with_a_referee
from gate_rows import SIZE, SKILL, known, observed

from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates import Observed, build_gate, decide, fit_gate, judge
from cards_deck.inference.gates._likelihood import PENALTY
from cards_deck.inference.gates._referee import LEAST_ROWS, answers, evidence, fit_referee
from cards_deck.inference.gates.guarded_cascade import GuardedCascadeGate
from cards_deck.inference.gates.refereed_cascade import RefereedCascadeGate
from cards_deck.inference.pooling import softmax
from cards_deck.spectrum import Floats

UNDER = np.array([[1, 0], [0, 1], [0, 1], [0.5, 0.5]], np.float32)  # cards of `known`, of plain and of noise
HALF = np.array([0.5, 0.5], np.float32)


def fitted(rows: Observed, trust: float = 1.0, most: int = 3, kind: str = "refereed_cascade") -> GuardedCascadeGate:
    gate = fit_gate(kind, rows, GateConfig(max_cards=most), known(), most_cards=1.8)
    assert isinstance(gate, GuardedCascadeGate)
    parameters = {**gate.config.parameters, "trust": trust}
    return type(gate)(dataclasses.replace(gate.config, parameters=parameters), gate.known)


def test_an_augmentation_says_what_its_cards_say_on_average_and_an_average_speaks_for_its_parts() -> None:
    said = np.array([[[0.8, 0.2]], [[0.4, 0.6]], [[0.6, 0.4]], [[0.1, 0.9]]], np.float32)
    for ran, means in (
        ([1, 1, 1, 0], [[0.8, 0.2], [0.5, 0.5]]),
        ([0, 1, 0, 1], [[0.1, 0.9], [(0.4 + 0.05) / 1.5, (0.6 + 0.45) / 1.5]]),
        ([0, 1, 1, 0], [[0, 0], [0.5, 0.5]]),
    ):
        found, there = answers(np.log(said), np.array([ran], np.bool_), UNDER)
        np.testing.assert_allclose(found[:, 0], means, rtol=1e-5)
        np.testing.assert_array_equal(there[0], np.sum(means, axis=1) > 0)


def test_the_evidence_of_two_that_disagree() -> None:
    """The first is sure of class 0, which the second gives a quarter; the second's class 1 has a tenth of the first."""
    means = np.array([[[0.9, 0.1, 0.0]], [[0.25, 0.5, 0.25]]], np.float32)
    found = evidence(np.array([[0.8, 0.2]], np.float32), means, np.ones((1, 2), np.bool_))
    own = [-(0.9 * np.log(0.9) + 0.1 * np.log(0.1)), -(0.5 * np.log(0.25) + 0.5 * np.log(0.5))]
    np.testing.assert_allclose(found, [[np.log(2), -np.log(2), np.log(0.25), np.log(0.1), *own]], rtol=1e-4)


def test_of_one_that_has_not_answered_there_is_no_evidence() -> None:
    means = np.array([[[0.9, 0.1]], [[0.0, 0.0]], [[0.3, 0.7]]], np.float32)
    shares = np.array([[0.5, 0.3, 0.2]], np.float32)
    found = evidence(shares, means, np.array([[True, False, True]]))[0]
    np.testing.assert_array_equal(np.isnan(found), [False] * 3 + [False, True, False] * 2)
    np.testing.assert_allclose(found[[3, 5]], np.log([0.3, 0.1]), rtol=1e-5)  # what the other one says, not the mean
    alone = evidence(shares, means, np.array([[True, False, False]]))[0]
    np.testing.assert_array_equal(np.isnan(alone), [False] * 3 + [True] * 3 + [False, True, True])


def _disagreeing(rows: Observed) -> tuple[Floats, np.ndarray]:
    """Probabilities [2, n, c] of the first two cards, and where they name two classes."""
    means = softmax(rows.logits[:2])
    return means, means[0].argmax(axis=1) != means[1].argmax(axis=1)


def _loss(flat: np.ndarray, seen: np.ndarray, right: np.ndarray, share: np.ndarray) -> float:
    """The penalised negative log-likelihood, with a logistic function in the place of the softmax."""
    weights, bias = flat[:-2].reshape(-1, 2), flat[-2:]
    first, second = (seen @ weights + bias).T
    of_first = 1 / (1 + np.exp(second - first))
    mixed = of_first * right[0] + (1 - of_first) * right[1]
    return float(-share @ np.log(mixed) + PENALTY * (weights**2).sum())


def test_a_referee_is_fitted_where_they_disagree_and_mixes_their_answers_best_there() -> None:
    rows = observed(seed=5)
    means, differ = _disagreeing(rows)
    preferred = np.tile(HALF, (len(differ), 1))
    there = np.ones((len(differ), 2), np.bool_)
    typical, weights, bias = fit_referee(preferred, means, there, rows.labels, rows.share)
    seen, share = (
        evidence(preferred, means, there)[differ].astype(np.float64),
        rows.share[differ] / rows.share[differ].sum(),
    )
    np.testing.assert_allclose(typical, share @ seen, rtol=1e-4, atol=1e-6)
    unit = (seen - share @ seen) / (np.sqrt(share @ (seen - share @ seen) ** 2) + 1e-6)
    right = means[:, differ, rows.labels[differ]].astype(np.float64)
    best = scipy.optimize.minimize(_loss, np.zeros(14), args=(unit, right, share)).x
    wanted = unit @ best[:-2].reshape(-1, 2) + best[-2:]
    found = seen @ weights + bias
    np.testing.assert_allclose(found[:, 0] - found[:, 1], wanted[:, 0] - wanted[:, 1], atol=0.02)
    assert np.ptp(found[:, 0] - found[:, 1]) > 0.5


@pytest.mark.parametrize("missing", ["disagreement", "answers"])
def test_where_nothing_can_be_learned_augmentations_mix_as_they_are_preferred(missing: str) -> None:
    """They hardly ever disagree, or never have all answered: that is what is left of a deck with more than may run."""
    rows = observed(seed=5)
    means, differ = _disagreeing(rows)
    preferred = np.random.default_rng(0).dirichlet([2, 1], len(differ)).astype(np.float32)
    there = np.ones((len(differ), 2), np.bool_)
    if missing == "answers":
        there[:, 1] = False
    else:
        means = np.where((np.cumsum(differ) < LEAST_ROWS)[:, None], means, means[:1])
    typical, weights, bias = fit_referee(preferred, means, there, rows.labels, rows.share)
    seen = np.nan_to_num(evidence(preferred, means, there), nan=9.0)
    np.testing.assert_allclose(softmax((seen @ weights + bias).astype(np.float32)), preferred, rtol=1e-4)
    assert not typical.any()
    assert differ.sum() > LEAST_ROWS
    if missing == "disagreement":
        means = np.where((np.cumsum(differ) <= LEAST_ROWS)[:, None], softmax(rows.logits[:2]), means[:1])
        assert fit_referee(preferred, means, there, rows.labels, rows.share)[0].any()


def test_of_three_augmentations_those_that_answered_share() -> None:
    """And of one alone, nobody is heard."""
    three = dataclasses.replace(known(3), augmentations=("plain", "noise", "fog"))
    rows = observed(seed=1, skill=SKILL[:3])
    gate = fit_gate("refereed_cascade", rows, GateConfig(max_cards=3), three, most_cards=2.5)
    assert isinstance(gate, GuardedCascadeGate)
    arrays = {**gate.config.arrays, "belief": np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)}
    gate = type(gate)(dataclasses.replace(gate.config, parameters={"trust": 1.0}, arrays=arrays), three)
    ran = np.array([[True, True, False], [True, True, True], [True, False, False]])
    np.testing.assert_array_equal(gate.hears(ran), [True, True, False])
    found = gate.hearing(np.full((3, 3), 1 / 3, np.float32), rows.logits[:, :3], ran)
    np.testing.assert_array_equal(found > 0, ran)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    other = rows.logits[:, :3].copy()
    other[2, 0] = 99  # who did not run
    np.testing.assert_array_equal(gate.hearing(np.full((3, 3), 1 / 3, np.float32), other, ran)[0], found[0])


def test_an_average_of_two_augmentations_alone_is_heard_by_nobody() -> None:
    gate = RefereedCascadeGate(with_a_referee(fitted(observed()).config), known())
    ran = np.array([[False, False, False, True], [False, True, True, False], [False, True, False, True]])
    np.testing.assert_array_equal(gate.hears(ran), [False, False, True])


def test_cards_that_were_cut_off_leave_the_answer_to_the_preference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is up when two cards have answered and a third was wanted: the two share as if nobody had heard them."""
    rows, clock = observed(seed=1), [0.0]
    config = with_a_referee(fitted(rows).config, 1.0)
    never = {**config.arrays, "enough": np.full_like(config.arrays["enough"], 2.0)}
    gate = RefereedCascadeGate(dataclasses.replace(config, arrays=never), known())
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    calls: list[int] = []

    one = rows.rows(np.arange(len(rows.labels)) == 0)

    def run(card: int, those: np.ndarray) -> Floats:
        calls.append(card)
        clock[0] = float(len(calls))
        return one.logits[card, those]

    done = decide(gate, one.spectra.astype(np.float32), run, deadline=1.5)
    assert len(calls) == done.ran.sum() == 2
    assert not done.in_time.any()
    joined = done.ran | gate.following(done.routing.preference, done.ran)
    wanted = np.where(done.ran, gate.sharing(done.routing.preference, joined), 0)
    np.testing.assert_allclose(done.weights, wanted / wanted.sum(), rtol=1e-5)
    heard = gate.hearing(done.routing.preference, done.logits, done.ran)
    assert np.abs(done.weights - heard).max() > 1e-3


def test_the_guarded_cascade_is_fitted_once_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, seen, fits = observed(seed=8), known(), []
    fit = GuardedCascadeGate._fitted.__func__  # type: ignore[attr-defined]

    def counted(cls: type, *arguments: object) -> object:
        fits.append(cls)
        return fit(cls, *arguments)

    monkeypatch.setattr(GuardedCascadeGate, "_fitted", classmethod(counted))
    for kind in ("guarded_cascade", "refereed_cascade"):
        fit_gate(kind, rows, GateConfig(max_cards=3), seen)
    assert fits == [GuardedCascadeGate]
    fit_gate("refereed_cascade", rows, GateConfig(max_cards=2), seen)
    assert len(fits) == 2


def test_it_asks_the_same_cards_as_the_guarded_cascade_and_without_trust_answers_alike() -> None:
    rows, others = observed(seed=1), observed(seed=2)
    for trust in (0.0, 1.0):
        found = others.decide(RefereedCascadeGate(with_a_referee(fitted(rows).config, trust), known()))
        guarded = others.decide(fitted(rows, trust, kind="guarded_cascade"))
        np.testing.assert_array_equal(found.ran, guarded.ran)
        assert (found.ran.sum(axis=1) > 1).any()
        same = np.isclose(found.weights, guarded.weights, atol=1e-6).all(axis=1)
        assert same[found.ran.sum(axis=1) == 1].all()
        assert same.all() == (trust == 0)


def test_an_unknown_spectrum_is_answered_by_the_plain_average_whatever_is_said() -> None:
    rows = observed(seed=1)
    far = np.full((len(rows.labels), SIZE, SIZE // 2 + 1), 40, np.float32)
    done = decide(fitted(rows), far, lambda card, those: rows.logits[card, those])
    assert done.routing.unknown.all()
    np.testing.assert_allclose(done.weights, np.tile([1 / 3, 1 / 3, 1 / 3, 0], (len(far), 1)), atol=1e-6)


@pytest.mark.parametrize("trust", [1.0, 0.5])
def test_the_surer_one_is_believed_more(trust: float) -> None:
    """By a belief in low entropy alone, nine times for every nat: one is certain, the other halves (ln 2 nats)."""
    gate = fitted(observed(), trust)
    belief = np.zeros((6, 2), np.float32)
    belief[4, 0] = belief[5, 1] = -np.log(9)
    arrays = {**gate.config.arrays, "belief": belief, "belief_bias": np.zeros(2, np.float32)}
    gate = type(gate)(dataclasses.replace(gate.config, arrays=arrays), gate.known)
    certain, halved = [0, -50, -50], [0, 0, -50]
    logits = np.array([certain, halved, halved, certain], np.float32)[:, None]
    found = gate.hearing(np.array([[0.5, 0.25, 0.25, 0]], np.float32), logits, np.array([[1, 1, 0, 0]], np.bool_))
    first = trust * 9 ** np.log(2) / (9 ** np.log(2) + 1) + (1 - trust) / 3  # a third of the plain average
    np.testing.assert_allclose(found, [[first, 1 - first, 0, 0]], atol=1e-5)


def _undecided_where_ignorant(seed: int) -> Observed:
    """Haze looks as clean images do, and the card of clean images knows nothing of it."""
    skill = np.column_stack([SKILL, [0.0, 2.6, 2.6, 1.3]])
    rows = observed(seed=seed, cells=("clean", "rough", "dull", "haze 1"), skill=skill)
    return dataclasses.replace(rows, logits=(rows.logits * (0.3 + skill[:, rows.cell, None])).astype(np.float32))


def test_a_shift_that_the_spectrum_does_not_show_is_seen_in_the_answers() -> None:
    rows, others = _undecided_where_ignorant(0), _undecided_where_ignorant(1)
    heard, deaf = (judge(fitted(rows, kind=kind), others).right for kind in ("refereed_cascade", "guarded_cascade"))
    gain = heard.astype(int) - deaf
    assert gain[others.cell == 3].mean() > 0.2
    assert gain[others.cell == 0].mean() > -0.02


def test_arrays_of_another_deck_are_refused() -> None:
    gate = fitted(observed())
    for name in ("typical", "belief", "belief_bias"):
        arrays = {**gate.config.arrays, name: gate.config.arrays[name][:-1]}
        with pytest.raises(InputError, match=name):
            build_gate(dataclasses.replace(gate.config, arrays=arrays), gate.known)
