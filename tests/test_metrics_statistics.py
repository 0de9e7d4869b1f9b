"""Diversity, significance and robustness against scipy, loops and published values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from cards_deck.corruptions import CORRUPTIONS
from cards_deck.errors import InputError
from eval import metrics
from eval.metrics.robustness import cifar101_line


def test_disagreement_and_double_fault_agree_with_loops() -> None:
    rng = np.random.default_rng(0)
    predictions, labels = rng.integers(0, 4, (3, 60)), rng.integers(0, 4, 60)
    differ, both = metrics.disagreement(predictions), metrics.double_fault(predictions == labels)
    for a in range(3):
        for b in range(3):
            pairs = list(zip(predictions[a], predictions[b], labels, strict=True))
            assert differ[a, b] == pytest.approx(sum(x != y for x, y, _ in pairs) / 60)
            assert both[a, b] == pytest.approx(sum(x != z and y != z for x, y, z in pairs) / 60)


def test_cards_by_hand() -> None:
    assert metrics.disagreement([[0, 1, 2, 3], [0, 1, 3, 2]]).tolist() == [[0, 0.5], [0.5, 0]]
    assert metrics.double_fault([[True, False, False, False], [True, True, False, False]]).tolist() == [
        [0.75, 0.5],
        [0.5, 0.5],
    ]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_mcnemar_is_scipys_binomial_test(pairs: list[tuple[bool, bool]]) -> None:
    first, second = np.array([a for a, _ in pairs], bool), np.array([b for _, b in pairs], bool)
    gained, lost = pairs.count((True, False)), pairs.count((False, True))
    found = metrics.mcnemar(first, second)
    assert (found.gained, found.lost) == (gained, lost)
    expected = scipy.stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1
    assert found.p == pytest.approx(expected)
    assert metrics.mcnemar(second, first) == (lost, gained, found.p)


@pytest.mark.parametrize(("gained", "lost"), [(5000, 4800), (3000, 3000), (2000, 0), (900, 700)])
def test_mcnemar_of_many_images(gained: int, lost: int) -> None:
    first = np.arange(gained + lost) < gained
    expected = scipy.stats.binomtest(gained, gained + lost).pvalue
    assert metrics.mcnemar(first, ~first).p == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_mcnemar_by_hand() -> None:
    """Five differences, all one way: 2 / 2^5."""
    assert metrics.mcnemar([1, 1, 1, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0, 1]) == (5, 0, 0.0625)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.04, 0.05, 0.5, 1.0]), min_size=1, max_size=12))
def test_holm_rejects_what_the_step_down_rule_rejects(p: list[float]) -> None:
    adjusted = metrics.holm(p)
    for level in (0.005, 0.013, 0.05, 0.1, 0.7):
        rejected: set[int] = set()
        for step, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
            if p[place] > level / (len(p) - step):
                break
            rejected.add(place)
        values = {p[place] for place in rejected}
        assert {i for i, q in enumerate(adjusted) if q <= level + 1e-15} >= rejected
        assert {p[i] for i, q in enumerate(adjusted) if q <= level - 1e-12} <= values
    assert (adjusted >= p).all()
    assert (adjusted <= 1).all()


def test_holm_by_hand() -> None:
    assert metrics.holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert metrics.holm([0.9, 0.8]) == pytest.approx([1, 1])


def test_the_standard_row_has_the_published_means() -> None:
    """RobustBench's own means of the row: 73.46 over all severities, 56.49 at severity 5."""
    rows = metrics.STANDARD_CIFAR10
    assert tuple(rows) == tuple(CORRUPTIONS)
    assert 1 - metrics.mean_corruption_error(metrics.STANDARD_CIFAR10_ERRORS) == pytest.approx(0.7346, abs=1e-4)
    assert sum(row[4] for row in rows.values()) / 15 == pytest.approx(0.5649, abs=1e-4)


def test_corruption_errors_by_hand() -> None:
    errors = {"fog": [0.1, 0.9], "snow": [0.2, 0.2]}
    standard = {"snow": [0.4, 0.4], "fog": [0.1, 0.3]}
    assert metrics.mean_corruption_error(errors) == pytest.approx(0.35)
    assert metrics.relative_mce(errors, standard) == pytest.approx((2.5 + 0.5) / 2)  # sums, then their ratio
    assert metrics.relative_mce(standard, standard) == 1


def test_effective_robustness_of_published_networks() -> None:
    """Accuracies on CIFAR-10 and CIFAR-10.1 v6 of the networks that the line was fitted to: all within 2 points."""
    published = {(0.9252, 0.8520), (0.9346, 0.8540), (0.9554, 0.8790), (0.9593, 0.9015), (0.9711, 0.9310)}
    for original, shifted in published:
        assert abs(metrics.effective_robustness(shifted, original)) < 0.02
    expected = 0.9015 - 1 / (1 + math.exp(-(0.839 * math.log(0.9593 / 0.0407) - 0.472)))
    assert metrics.effective_robustness(0.9015, 0.9593) == pytest.approx(expected)


def test_the_line_rises_from_0_to_1() -> None:
    line = [cifar101_line(x) for x in np.linspace(0, 1, 101)]
    assert (line[0], line[-1]) == (0, 1)
    assert sorted(line) == line
    assert all(shifted < x for shifted, x in zip(line[20:-1], np.linspace(0.2, 0.99, 80), strict=True))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.disagreement([0, 1]), "predictions"),
        (lambda: metrics.double_fault(np.zeros((2, 0), bool)), "correct"),
        (lambda: metrics.mcnemar([1, 0], [1]), "same images"),
        (lambda: metrics.holm([1.2]), "p must be"),
        (lambda: metrics.mean_corruption_error({}), "at least one"),
        (lambda: metrics.mean_corruption_error({"fog": [50.0]}), "fog"),
        (lambda: metrics.relative_mce({"fog": [0.1]}, {"snow": [0.1]}), "fog, snow"),
        (lambda: metrics.relative_mce({"fog": [0.1]}, {"fog": [0.0]}), "above 0"),
        (lambda: metrics.effective_robustness(90.0, 0.9), "acc_shift"),
    ],
)
def test_bad_arguments_are_refused(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
