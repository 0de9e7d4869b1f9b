"""Detection of unknown images: brute force over pairs and thresholds, loops over the scores' definitions."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cards_deck.errors import InputError
from eval import metrics

SCORES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=25)
SIDES: tuple[Literal["out", "in"], ...] = ("out", "in")


def auroc_by_pairs(known: list[float], unknown: list[float]) -> float:
    wins = sum((u > k) + 0.5 * (u == k) for u in unknown for k in known)
    return wins / (len(known) * len(unknown))


def average_precision_by_thresholds(wanted: list[float], other: list[float]) -> float:
    """Sum over thresholds, from the highest on, of the gain in recall times the precision."""
    total, recall = 0.0, 0.0
    for threshold in sorted({*wanted, *other}, reverse=True):
        caught = sum(score >= threshold for score in wanted)
        flagged = caught + sum(score >= threshold for score in other)
        total += (caught / len(wanted) - recall) * caught / flagged
        recall = caught / len(wanted)
    return total


def fpr_by_thresholds(known: list[float], unknown: list[float], tpr: float) -> float:
    rates = []
    for threshold in {*known, *unknown}:
        if sum(score >= threshold for score in unknown) / len(unknown) >= tpr - 1e-12:
            rates.append(sum(score >= threshold for score in known) / len(known))
    return min(rates)


@settings(max_examples=80, deadline=None)
@given(SCORES, SCORES, st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_all_three_agree_with_brute_force(known: list[float], unknown: list[float], tpr: float) -> None:
    assert metrics.auroc(known, unknown) == pytest.approx(auroc_by_pairs(known, unknown))
    assert metrics.aupr(known, unknown) == pytest.approx(average_precision_by_thresholds(unknown, known))
    found = metrics.aupr(known, unknown, positive="in")
    assert found == pytest.approx(average_precision_by_thresholds([-k for k in known], [-u for u in unknown]))
    assert metrics.fpr_at_tpr(known, unknown, tpr) == pytest.approx(fpr_by_thresholds(known, unknown, tpr))


def test_the_same_without_ties() -> None:
    rng = np.random.default_rng(0)
    known, unknown = rng.normal(0, 1, 300).tolist(), rng.normal(1, 1, 150).tolist()
    assert metrics.auroc(known, unknown) == pytest.approx(auroc_by_pairs(known, unknown))
    assert metrics.aupr(known, unknown) == pytest.approx(average_precision_by_thresholds(unknown, known))
    assert metrics.fpr_at_tpr(known, unknown) == pytest.approx(fpr_by_thresholds(known, unknown, 0.95))


@settings(max_examples=60, deadline=None)
@given(SCORES, SCORES, st.randoms())
def test_turning_the_sides_and_the_scale(known: list[float], unknown: list[float], random: Any) -> None:
    value = metrics.auroc(known, unknown)
    assert value == pytest.approx(1 - metrics.auroc(unknown, known))
    assert value == pytest.approx(metrics.auroc([math.exp(k) for k in known], [math.exp(u) for u in unknown]))
    assert value == metrics.auroc(random.sample(known, len(known)), random.sample(unknown, len(unknown)))
    for side in SIDES:
        assert 0 < metrics.aupr(known, unknown, side) <= 1
    assert 0 <= metrics.fpr_at_tpr(known, unknown) <= 1


def test_by_hand() -> None:
    """Unknown images score high. 0.8 and 0.9 unknown; 0.1, 0.2, 0.85 known."""
    known, unknown = [0.1, 0.2, 0.85], [0.8, 0.9]
    assert metrics.auroc(known, unknown) == pytest.approx(5 / 6)
    assert metrics.fpr_at_tpr(known, unknown) == pytest.approx(1 / 3)
    assert metrics.fpr_at_tpr(known, unknown, 0.5) == 0
    assert metrics.aupr(known, unknown) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.aupr(known, unknown, "in") == pytest.approx((1 + 1 + 3 / 4) / 3)


def test_the_interval_is_delongs() -> None:
    """Variances of the kernel's row and column means, by loops over all pairs."""
    rng = np.random.default_rng(5)
    known, unknown = rng.integers(0, 9, 40).tolist(), rng.integers(3, 12, 25).tolist()
    kernel = np.array([[(u > k) + 0.5 * (u == k) for k in known] for u in unknown])
    variance = kernel.mean(axis=1).var(ddof=1) / 25 + kernel.mean(axis=0).var(ddof=1) / 40
    found = metrics.auroc_interval(known, unknown)
    assert found.value == pytest.approx(kernel.mean())
    assert found.high == pytest.approx(min(1, kernel.mean() + 1.96 * math.sqrt(variance)), abs=1e-5)
    assert found.low == pytest.approx(kernel.mean() - 1.96 * math.sqrt(variance), abs=1e-5)


def test_the_interval_agrees_with_resampling() -> None:
    rng = np.random.default_rng(6)
    known, unknown = rng.normal(0, 1, 200), rng.normal(1, 1, 150)
    drawn = [metrics.auroc(rng.choice(known, 200), rng.choice(unknown, 150)) for _ in range(1000)]
    found = metrics.auroc_interval(known, unknown)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.12 * (high - low))
    assert found.high == pytest.approx(high, abs=0.12 * (high - low))


def test_the_ends() -> None:
    low, high = [0.0, 0.1], [0.9, 1.0]
    assert (metrics.auroc(low, high), metrics.auroc(high, low), metrics.auroc(low, low)) == (1, 0, 0.5)
    assert (metrics.fpr_at_tpr(low, high), metrics.fpr_at_tpr(high, low)) == (0, 1)
    assert (metrics.aupr(low, high), metrics.aupr(low, high, "in")) == (1, 1)
    assert metrics.aupr([0.5] * 3, [0.5]) == 0.25


def probabilities(k: int = 3, n: int = 7, classes: int = 4) -> NDArray[np.float64]:
    return np.random.default_rng(1).dirichlet(np.ones(classes), size=(k, n))


def test_scores_of_probabilities_agree_with_loops() -> None:
    rows = probabilities()
    for i in range(7):
        mean = [sum(rows[card, i, c] for card in range(3)) / 3 for c in range(4)]
        own = [-sum(p * math.log(p) for p in rows[card, i]) for card in range(3)]
        pooled = -sum(p * math.log(p) for p in mean)
        assert metrics.msp(rows[0])[i] == pytest.approx(1 - max(rows[0, i]))
        assert metrics.entropy(rows)[1, i] == pytest.approx(own[1])
        assert metrics.mutual_information(rows)[i] == pytest.approx(pooled - sum(own) / 3)


def test_energy_agrees_with_a_loop_and_does_not_overflow() -> None:
    logits = np.random.default_rng(2).normal(0, 5, (6, 4))
    for row, found in zip(logits, metrics.energy(logits), strict=True):
        assert found == pytest.approx(-math.log(sum(math.exp(x) for x in row)))
    assert metrics.energy(np.array([[1000.0, 0.0]])) == pytest.approx([-1000])


def test_cards_that_agree_have_no_mutual_information() -> None:
    same = np.repeat(probabilities(1), 4, axis=0)
    assert metrics.mutual_information(same) == pytest.approx(np.zeros(7), abs=1e-15)
    split = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert metrics.mutual_information(split) == pytest.approx([math.log(2)])
    assert metrics.entropy(np.array([[1.0, 0.0]])) == pytest.approx([0])


@pytest.mark.parametrize("k", [1, 5, 30])
def test_knn_agrees_with_sorting_all_distances(k: int) -> None:
    rng = np.random.default_rng(3)
    features, bank = rng.normal(size=(300, 6)), rng.normal(size=(30, 6))
    found = metrics.knn(features, bank, k)
    for place in range(0, 300, 7):
        asked = features[place] / math.sqrt(sum(x * x for x in features[place]))
        stored = [row / math.sqrt(sum(x * x for x in row)) for row in bank]
        distances = sorted(math.dist(asked, row) for row in stored)
        assert found[place] == pytest.approx(distances[k - 1])


def test_knn_looks_at_directions_only() -> None:
    rng = np.random.default_rng(4)
    features, bank = rng.normal(size=(5, 3)), rng.normal(size=(20, 3))
    assert metrics.knn(7 * features, 0.1 * bank, 2) == pytest.approx(metrics.knn(features, bank, 2))
    assert metrics.knn(bank, bank, 1) == pytest.approx(np.zeros(20), abs=1e-7)
    assert metrics.knn(np.zeros((1, 3)), bank, 2) == pytest.approx([1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.auroc([], [1.0]), "scores_in"),
        (lambda: metrics.auroc([0.0], [math.nan]), "scores_out"),
        (lambda: metrics.fpr_at_tpr([0.0], [1.0], 95), "tpr"),
        (lambda: metrics.auroc_interval([0.0], [1.0]), "2 images"),
        (lambda: metrics.aupr([0.0], [1.0], "ood"), "positive"),  # type: ignore[arg-type]
        (lambda: metrics.knn(np.ones((2, 3)), np.ones((4, 2)), 1), "agree"),
        (lambda: metrics.knn(np.ones((2, 3)), np.ones((4, 3)), 5), "k must be"),
        (lambda: metrics.mutual_information(np.ones((2, 3))), "cards"),
    ],
)
def test_bad_arguments_are_refused(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
