"""Accuracies and their intervals: pure functions of arrays.

The unit of resampling is the image. The 75 corrupted versions of one image are not independent, so a resample keeps all
cells of an image together: every route is first averaged over cells per image, then the images are resampled. Two
routes measured on the same images are compared by the interval of their per-image difference (paired bootstrap).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_CHUNK_ELEMENTS = 4_000_000  # random indices drawn at once: bounds the memory of a bootstrap over 10,000 images


@dataclass(frozen=True)
class Interval:
    """A value with the two ends of its confidence interval, all in the unit of the value."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Plain numbers, rounded to six digits so that two runs write the same bytes."""
        return {"value": round(self.value, 6), "low": round(self.low, 6), "high": round(self.high, 6)}


def is_correct(scores: NDArray[np.floating], labels: NDArray[np.integer]) -> Bools:
    """`scores` [..., n, classes] (logits or probabilities), `labels` [n] -> bool [..., n]: is the label on top?

    A tie goes to the lower class number, as `argmax` does. A row with a score that is not finite raises InputError.
    """
    if scores.ndim < 2 or scores.shape[-2] != len(labels):
        raise InputError(f"scores must be [..., {len(labels)}, classes] for {len(labels)} labels, got {scores.shape}")
    if not np.isfinite(scores).all():
        raise InputError("scores must be finite: a card answered NaN or infinity; check the card's values")
    return np.asarray(scores.argmax(axis=-1) == labels)


def _resampled_counts(n: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield float64 [some, n] blocks: how often each of n images occurs in each resample."""
    generator = np.random.default_rng(seed)
    block = max(1, _CHUNK_ELEMENTS // n)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.integers(0, n, size=(rows, n)) + np.arange(rows)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def bootstrap_means(values: Floats, *, resamples: int = 10_000, seed: int = 0) -> Floats:
    """Means of `values` [n, m] over resampled rows -> [resamples, m]; all m columns share each resample of the rows."""
    if values.ndim != 2 or len(values) == 0:
        raise InputError(f"values must be [n >= 1, m], got {values.shape}")
    n = len(values)
    return np.concatenate([counts @ values / n for counts in _resampled_counts(n, resamples, seed)])


def intervals(values: Floats, *, resamples: int = 10_000, seed: int = 0, level: float = 0.95) -> list[Interval]:
    """Mean and percentile bootstrap interval of each column of `values` [n, m]; rows are images."""
    means = bootstrap_means(values, resamples=resamples, seed=seed)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return [Interval(float(v), float(a), float(b)) for v, a, b in zip(values.mean(axis=0), low, high, strict=True)]


def cell_groups(cells: Sequence[tuple[str, int]], noise: Sequence[str]) -> dict[str, Bools]:
    """Which cells (corruption, severity) each headline number averages: name -> bool [cells]."""
    severe = np.array([severity == 5 for _, severity in cells])
    noisy = np.array([corruption in noise for corruption, _ in cells])
    everything = np.ones(len(cells), dtype=bool)
    return {"mean": everything, "severity5": severe, "noise": noisy, "non_noise": ~noisy}


def per_image_means(correct: NDArray[np.generic], groups: Mapping[str, Bools]) -> Floats:
    """`correct` [cells, n] -> [n, groups]: each image's mean over the cells of each group."""
    columns = [correct[mask].mean(axis=0, dtype=np.float64) for mask in groups.values()]
    return np.stack(columns, axis=1)


def best_card_per_cell(correct: Bools) -> NDArray[np.intp]:
    """`correct` [cells, cards, n] -> [cells]: the card with the highest accuracy in each cell (first of equals)."""
    return np.asarray(correct.mean(axis=2).argmax(axis=1))
