"""Accuracies and intervals against plain loops and scipy's bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from cards_deck.errors import InputError
from eval import metrics
from eval.numbers import points, verdict


def _correct(n: int = 300, cells: int = 10, seed: int = 0) -> metrics.Bools:
    """Correlated cells: an image that is hard is hard in every cell."""
    rng = np.random.default_rng(seed)
    difficulty = rng.uniform(0.2, 1.0, n)
    return np.asarray(rng.random((cells, n)) < difficulty)


def test_is_correct_agrees_with_a_loop() -> None:
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=(3, 20, 5)), rng.integers(0, 5, 20)
    found = metrics.is_correct(scores, labels)
    for k in range(3):
        for i in range(20):
            best = max(range(5), key=lambda c: scores[k, i, c])
            assert found[k, i] == (best == labels[i])


@pytest.mark.parametrize("shape", [(20,), (19, 5), (3, 5, 20)])
def test_is_correct_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="20 labels"):
        metrics.is_correct(np.zeros(shape), np.zeros(20, dtype=np.int64))


def test_is_correct_refuses_nan() -> None:
    scores = np.zeros((2, 3))
    scores[1, 1] = np.nan
    with pytest.raises(InputError, match="finite"):
        metrics.is_correct(scores, np.zeros(2, dtype=np.int64))


def test_cell_groups_cover_what_their_names_say() -> None:
    cells = [("gaussian_noise", 1), ("gaussian_noise", 5), ("fog", 1), ("fog", 5)]
    groups = metrics.cell_groups(cells, ("gaussian_noise",))
    assert {name: mask.tolist() for name, mask in groups.items()} == {
        "mean": [True, True, True, True],
        "severity5": [False, True, False, True],
        "noise": [True, True, False, False],
        "non_noise": [False, False, True, True],
    }


def test_the_mean_over_images_is_the_mean_over_cells() -> None:
    correct = _correct()
    groups = {"mean": np.ones(10, dtype=bool), "first": np.arange(10) < 3}
    per_image = metrics.per_image_means(correct, groups)
    assert per_image.shape == (300, 2)
    assert per_image[:, 0].mean() == pytest.approx(sum(row.mean() for row in correct) / 10)
    assert per_image[:, 1].mean() == pytest.approx(sum(row.mean() for row in correct[:3]) / 3)


def test_intervals_agree_with_scipy() -> None:
    values = metrics.per_image_means(_correct(), {"mean": np.ones(10, dtype=bool)})
    ours = metrics.intervals(values, resamples=4000, seed=3)[0]
    theirs = scipy.stats.bootstrap(
        (values[:, 0],), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(4)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.value == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.08 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.08 * width)


def test_cells_of_an_image_are_resampled_together() -> None:
    """Treating the cells as independent would make the interval of correlated cells too narrow."""
    correct = np.repeat(_correct(cells=1), 10, axis=0)
    together = metrics.intervals(metrics.per_image_means(correct, {"m": np.ones(10, dtype=bool)}), resamples=1000)[0]
    apart = metrics.intervals(correct.reshape(-1, 1).astype(np.float64), resamples=1000)[0]
    assert (together.high - together.low) > 2.5 * (apart.high - apart.low)


def test_a_paired_difference_is_narrower_than_an_unpaired_one() -> None:
    a = _correct()[:1].T.astype(np.float64)
    b = a.copy()
    b[:6] = 1 - b[:6]
    paired = metrics.intervals(a - b, resamples=1000)[0]
    first, second = metrics.intervals(np.hstack([a, b]), resamples=1000)
    assert paired.value == pytest.approx(first.value - second.value)
    assert (paired.high - paired.low) < 0.5 * (first.high - first.low)


def test_intervals_do_not_depend_on_the_other_columns_or_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((50, 4))
    whole = metrics.intervals(values, resamples=500, seed=7)
    assert whole[2].as_dict() == metrics.intervals(values[:, 2:3], resamples=500, seed=7)[0].as_dict()
    assert whole != metrics.intervals(values, resamples=500, seed=8)
    monkeypatch.setattr(metrics.bootstrap, "_BLOCK_ELEMENTS", 170)
    assert [i.as_dict() for i in metrics.intervals(values, resamples=500, seed=7)] == [i.as_dict() for i in whole]


def test_the_order_of_columns_and_neighbours_changes_no_bit() -> None:
    values = np.random.default_rng(0).normal(size=(77, 9)) * np.logspace(-8, 8, 9)
    whole = metrics.bootstrap_means(values, resamples=60, seed=1)
    assert (metrics.bootstrap_means(values[:, ::-1], resamples=60, seed=1)[:, ::-1] == whole).all()
    assert (metrics.bootstrap_means(values[:, 4:5], resamples=60, seed=1)[:, 0] == whole[:, 4]).all()


def test_bootstrap_means_agree_with_a_loop() -> None:
    values = np.random.default_rng(0).random((12, 3)) - 0.5
    drawn = np.random.default_rng(5).integers(0, 12, size=(40, 12))
    expected = [[sum(values[i, column] for i in row) / 12 for column in range(3)] for row in drawn]
    assert metrics.bootstrap_means(values, resamples=40, seed=5) == pytest.approx(np.array(expected), abs=1e-14)


@pytest.mark.parametrize("values", [np.zeros(5), np.zeros((0, 2)), np.full((3, 1), np.nan)])
def test_a_bootstrap_refuses_other_values(values: metrics.Floats) -> None:
    with pytest.raises(InputError, match="values must be"):
        metrics.intervals(values)


def test_a_constant_column_has_no_width() -> None:
    found = metrics.intervals(np.array([[0.0, 1.0]] * 9), resamples=50)
    assert [(i.low, i.value, i.high) for i in found] == [(0, 0, 0), (1, 1, 1)]


def test_best_card_per_cell_agrees_with_a_loop() -> None:
    correct = np.stack([_correct(seed=seed) for seed in range(3)], axis=1)
    found = metrics.best_card_per_cell(correct)
    for cell in range(10):
        counts = [int(correct[cell, card].sum()) for card in range(3)]
        assert found[cell] == counts.index(max(counts))


@pytest.mark.parametrize(
    ("low", "high", "found"), [(0.01, 0.02, "better"), (-0.02, -0.01, "worse"), (-0.01, 0.02, "no difference shown")]
)
def test_a_verdict_needs_an_interval_without_zero(low: float, high: float, found: str) -> None:
    assert verdict({"value": (low + high) / 2, "low": low, "high": high}) == found


def test_points_have_a_sign_and_no_negative_zero() -> None:
    assert [points(v) for v in (0.0123, -0.0123, -0.0001, 0.0)] == ["+1.2", "−1.2", "0.0", "0.0"]
