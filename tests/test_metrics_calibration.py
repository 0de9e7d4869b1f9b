"""Calibration against loops over the definitions, scipy's optimiser and small cases worked by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cards_deck.errors import InputError
from eval import metrics

Floats = NDArray[np.float64]
Rows = tuple[Floats, NDArray[np.int64]]


def answers(n: int = 400, classes: int = 5, temperature: float = 1.0, seed: int = 0) -> Rows:
    """Probabilities [n, classes] whose labels are drawn from their `temperature`-softened version."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, classes))
    truth = _softmax(logits / temperature)
    return _softmax(logits), np.array([rng.choice(classes, p=row) for row in truth])


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def sure_and_right(n: int = 400, seed: int = 0) -> tuple[Floats, NDArray[np.bool_]]:
    probabilities, labels = answers(n, seed=seed)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def ece_by_loop(confidence: Any, correct: Any, bins: int) -> float:
    total = 0.0
    for m in range(1, bins + 1):
        inside = [i for i, c in enumerate(confidence) if (m - 1) / bins < c <= m / bins or (m == 1 and c == 0)]
        if inside:
            accuracy = sum(bool(correct[i]) for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - sum(confidence[i] for i in inside) / len(inside))
    return total


@pytest.mark.parametrize("bins", [1, 4, 15, 100])
def test_ece_agrees_with_a_loop(bins: int) -> None:
    confidence, correct = sure_and_right()
    found = metrics.expected_calibration_error(confidence, correct, bins)
    assert found == pytest.approx(ece_by_loop(confidence, correct, bins), abs=1e-12)


def test_ece_by_hand() -> None:
    confidence, correct = [0.9, 0.9, 0.6, 0.6], [True, False, True, True]
    assert metrics.expected_calibration_error(confidence, correct, 2) == pytest.approx(abs(0.75 - 0.75))
    assert metrics.expected_calibration_error(confidence, correct, 10) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)


def test_a_bin_holds_its_upper_end_and_zero_is_in_the_first() -> None:
    found = metrics.reliability([0.0, 0.2, 0.4, 0.41, 1.0], [0, 0, 1, 1, 1], 5)
    assert [b["count"] for b in found] == [2, 1, 1, 0, 1]
    assert found[0] == {"confidence": pytest.approx(0.1), "accuracy": 0.0, "count": 2}
    assert found[3] == {"confidence": None, "accuracy": None, "count": 0}


def test_adaptive_bins_hold_equally_many() -> None:
    confidence, correct = sure_and_right(404)
    order = sorted(range(404), key=lambda i: confidence[i])
    total, start = 0.0, 0
    for m in range(15):
        inside = order[start : start + (27 if m < 14 else 26)]
        start += len(inside)
        gap = sum(float(correct[i]) - confidence[i] for i in inside)
        total += abs(gap) / 404
    assert start == 404
    assert metrics.adaptive_calibration_error(confidence, correct) == pytest.approx(total, abs=1e-12)


def test_adaptive_error_of_equal_confidences_has_no_order() -> None:
    """Twenty images of confidence 0.5, half of them right: however they come, every bin is calibrated."""
    correct = np.arange(20) < 10
    assert metrics.adaptive_calibration_error(np.full(20, 0.5), correct, 4) == 0
    assert metrics.adaptive_calibration_error([0.5], [1], 15) == 0.5


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=40),
    st.integers(1, 20),
    st.randoms(),
)
def test_calibration_errors_are_shares_and_have_no_order(
    pairs: list[tuple[float, bool]], bins: int, random: Any
) -> None:
    shuffled = random.sample(pairs, len(pairs))
    for error in (metrics.expected_calibration_error, metrics.adaptive_calibration_error):
        value = error(*zip(*pairs, strict=True), bins)
        assert 0 <= value <= 1
        assert value == pytest.approx(error(*zip(*shuffled, strict=True), bins), abs=1e-12)
    assert sum(b["count"] for b in metrics.reliability(*zip(*pairs, strict=True), bins)) == len(pairs)


def test_one_bin_of_either_kind_is_the_gap_of_the_means() -> None:
    confidence, correct = sure_and_right()
    gap = pytest.approx(abs(correct.mean() - confidence.mean()))
    assert metrics.expected_calibration_error(confidence, correct, 1) == gap
    assert metrics.adaptive_calibration_error(confidence, correct, 1) == gap


def test_nll_and_brier_agree_with_loops() -> None:
    probabilities, labels = answers()
    nll = brier = 0.0
    for row, label in zip(probabilities, labels, strict=True):
        nll -= math.log(row[label])
        brier += sum((p - (k == label)) ** 2 for k, p in enumerate(row))
    assert metrics.negative_log_likelihood(probabilities, labels) == pytest.approx(nll / len(labels))
    assert metrics.brier(probabilities, labels) == pytest.approx(brier / len(labels))


def test_scores_by_hand() -> None:
    certain, labels = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1])
    assert metrics.brier(certain, labels) == 1  # 0 and 2
    assert metrics.negative_log_likelihood(certain, labels) == pytest.approx(-math.log(1e-12) / 2)
    assert metrics.brier(np.full((1, 4), 0.25), np.array([2])) == pytest.approx(0.75)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_found(temperature: float) -> None:
    probabilities, labels = answers(6000, temperature=temperature, seed=3)
    assert metrics.fit_temperature(probabilities, labels) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_the_fitted_temperature_is_scipys(seed: int) -> None:
    probabilities, labels = answers(300, temperature=0.5 + seed, seed=seed)

    def loss(log_temperature: float) -> float:
        powers = probabilities ** (1 / math.exp(log_temperature))
        return -float(np.log(powers[np.arange(300), labels] / powers.sum(axis=1)).mean())

    best = scipy.optimize.minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), options={"xatol": 1e-9})
    assert metrics.fit_temperature(probabilities, labels) == pytest.approx(math.exp(best.x), rel=1e-5)


def test_a_temperature_never_fits_worse_than_none() -> None:
    for seed in range(5):
        probabilities, labels = answers(100, temperature=2 - seed / 3, seed=seed)
        fitted = metrics.tempered(probabilities, metrics.fit_temperature(probabilities, labels))
        before = metrics.negative_log_likelihood(probabilities, labels)
        assert metrics.negative_log_likelihood(fitted, labels) <= before + 1e-12


def test_a_temperature_without_bound_stops_at_the_end_of_the_range() -> None:
    probabilities, _ = answers(50)
    always = probabilities.argmax(axis=1)
    assert metrics.fit_temperature(probabilities, always) == pytest.approx(0.05)
    assert metrics.fit_temperature(probabilities, probabilities.argmin(axis=1)) == pytest.approx(20)
    assert 0.05 <= metrics.fit_temperature(np.full((8, 4), 0.25), np.zeros(8, np.int64)) <= 20


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 20))
def test_a_temperature_keeps_every_answer(seed: int, temperature: float) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(6, 0.3), size=50).astype(np.float32)
    found = metrics.tempered(probabilities, temperature)
    assert (found.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert found.sum(axis=1) == pytest.approx(np.ones(50))


def test_temperature_one_changes_nothing_and_others_raise_to_a_power() -> None:
    probabilities, _ = answers(20)
    assert metrics.tempered(probabilities, 1) == pytest.approx(probabilities)
    powers = probabilities**0.5
    assert metrics.tempered(probabilities, 2) == pytest.approx(powers / powers.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.expected_calibration_error([], []), "n >= 1"),
        (lambda: metrics.expected_calibration_error([0.5], [1, 0]), "equally long"),
        (lambda: metrics.expected_calibration_error([0.5], [2]), "true and false"),
        (lambda: metrics.expected_calibration_error([1.5], [1]), "probabilities"),
        (lambda: metrics.expected_calibration_error([0.5], [1], 0), "bins"),
        (lambda: metrics.expected_calibration_error([math.nan], [1]), "finite"),
        (lambda: metrics.brier(np.array([[2.0, 3.0]]), np.array([0])), "no logits"),
        (lambda: metrics.brier(np.array([[0.5, 0.5]]), np.array([2])), "0 to 1"),
        (lambda: metrics.brier(np.array([[0.5, 0.5]]), np.array([0, 1])), "one per row"),
        (lambda: metrics.tempered(np.array([[0.5, 0.5]]), 0), "positive"),
    ],
)
def test_bad_arguments_are_refused(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
