"""Risk and coverage against averages over all orders of ties, and brute force over thresholds."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cards_deck.errors import InputError
from eval import metrics

Pairs = list[tuple[float, bool]]
PAIRS = st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.booleans()), min_size=1, max_size=30)


def columns(pairs: Pairs) -> tuple[list[float], list[bool]]:
    return [c for c, _ in pairs], [r for _, r in pairs]


def risks_by_loop(pairs: Pairs) -> list[float]:
    """Risks at 1, 2, ... images in the order given."""
    wrong, risks = 0, []
    for count, (_, right) in enumerate(pairs, start=1):
        wrong += not right
        risks.append(wrong / count)
    return risks


def test_the_curve_by_hand() -> None:
    coverage, risk = metrics.risk_coverage([0.2, 0.9, 0.5, 0.7], [False, True, False, True])
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert risk == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert metrics.aurc([0.2, 0.9, 0.5, 0.7], [False, True, False, True]) == pytest.approx(5 / 24)


def test_ties_are_averaged_over_their_orders() -> None:
    tied = [(0.5, True), (0.5, False), (0.5, False)]
    orders = [[(0.9, True), *order, (0.1, False)] for order in itertools.permutations(tied)]
    expected = np.mean([risks_by_loop(order) for order in orders], axis=0)
    for order in orders:
        assert metrics.risk_coverage(*columns(order))[1] == pytest.approx(expected)


def test_without_ties_it_is_the_plain_loop() -> None:
    rng = np.random.default_rng(0)
    pairs = [(float(c), bool(r)) for c, r in zip(rng.random(200), rng.random(200) < 0.7, strict=True)]
    expected = risks_by_loop(sorted(pairs, reverse=True))
    assert metrics.risk_coverage(*columns(pairs))[1] == pytest.approx(expected)
    assert metrics.aurc(*columns(pairs)) == pytest.approx(sum(expected) / 200)


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.randoms())
def test_areas_have_no_order_and_stay_in_bounds(pairs: Pairs, random: Any) -> None:
    shuffled = random.sample(pairs, len(pairs))
    area, excess = metrics.aurc(*columns(pairs)), metrics.excess_aurc(*columns(pairs))
    assert 0 <= area <= 1
    assert excess >= -1e-12
    assert area == pytest.approx(metrics.aurc(*columns(shuffled)), abs=1e-12)
    coverage, risk = metrics.risk_coverage(*columns(pairs))
    assert risk[-1] == pytest.approx(1 - np.mean([right for _, right in pairs]))
    assert coverage[-1] == 1


@settings(max_examples=60, deadline=None)
@example([(0.1, False)], 0.9999999999999999)
@given(PAIRS, st.floats(0, 1))
def test_coverage_at_a_risk_is_the_best_threshold(pairs: Pairs, risk: float) -> None:
    best = 0.0
    for threshold in {c for c, _ in pairs}:
        answered = [right for c, right in pairs if c >= threshold]
        if answered.count(False) / len(answered) <= risk + 1e-12:  # as near as rounding comes
            best = max(best, len(answered) / len(pairs))
    assert metrics.coverage_at_risk(*columns(pairs), risk) == pytest.approx(best)


def test_a_perfect_ranking_has_the_least_area() -> None:
    correct = np.arange(50) < 35
    confidence = np.linspace(1, 0, 50)
    assert metrics.excess_aurc(confidence, correct) == pytest.approx(0, abs=1e-15)
    perfect = sum((i - 35) / i for i in range(36, 51)) / 50
    assert metrics.aurc(confidence, correct) == pytest.approx(perfect)
    assert metrics.excess_aurc(1 - confidence, correct) > 0.3
    assert metrics.aurc(confidence, np.ones(50)) == 0
    assert metrics.aurc(confidence, np.zeros(50)) == 1


def test_a_guess_has_the_risk_of_all_everywhere() -> None:
    """Equal confidence everywhere: the risk is the error at any coverage, and no threshold below 1 exists."""
    correct = np.arange(40) < 30
    assert metrics.risk_coverage(np.full(40, 0.5), correct)[1] == pytest.approx(np.full(40, 0.25))
    assert metrics.coverage_at_risk(np.full(40, 0.5), correct, 0.2) == 0
    assert metrics.coverage_at_risk(np.full(40, 0.5), correct, 0.25) == 1


@pytest.mark.parametrize(("n", "points"), [(1, 60), (10, 60), (60, 60), (1000, 60), (10_000, 7)])
def test_a_thinned_curve_keeps_both_ends(n: int, points: int) -> None:
    coverage, risk = metrics.risk_coverage(np.random.default_rng(0).random(n), np.arange(n) % 3 > 0)
    curve = metrics.thinned_curve(coverage, risk, points)
    assert len(curve) == min(n, points)
    assert curve[0] == [round(coverage[0], 6), round(risk[0], 6)]
    assert curve[-1] == [1.0, round(risk[-1], 6)]
    assert sorted(curve) == curve


def test_an_impossible_risk_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        metrics.coverage_at_risk([0.5], [1], 5)
