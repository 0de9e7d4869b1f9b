"""Confidence intervals by the percentile bootstrap over images (Efron and Tibshirani, 1993, chapter 13).

The unit of resampling is the image. The 75 corrupted versions of one image are not independent, so a resample keeps all
cells of an image together: every route is first averaged over cells per image, then the images are resampled. Two
routes measured on the same images are compared by the interval of their per-image difference (paired bootstrap).

Sums are taken over whole numbers below 2^53, which float64 adds exactly. So an interval does not depend, in any bit, on
the other columns, the block size, the BLAS library or its threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cards_deck.errors import InputError
from eval.metrics._arrays import Floats

_BLOCK_ELEMENTS = 500_000  # random indices drawn at once: their counts stay in the cache, and memory is bounded


@dataclass(frozen=True)
class Interval:
    """A value with the two ends of its confidence interval, all in the unit of the value."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Plain numbers, rounded to six digits so that two runs write the same bytes."""
        return {"value": round(self.value, 6), "low": round(self.low, 6), "high": round(self.high, 6)}


def _resampled_counts(n: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield float64 [some, n] blocks: how often each of n images occurs in each resample."""
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK_ELEMENTS // n)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.integers(0, n, size=(rows, n))
        drawn += np.arange(rows)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def _whole(values: Floats) -> tuple[Floats, Floats]:
    """`values` [n, m] as whole numbers, and the power of two [m] by which each column was multiplied.

    A column's sum over any n rows with repetition stays within 2^53. What rounding takes is below 2^-52 n of the
    column's largest value: nothing that six digits show.
    """
    largest = np.abs(values).max(axis=0)
    scale = np.exp2(np.floor(52 - np.log2(len(values)) - np.log2(np.where(largest > 1e-250, largest, 1))))
    return np.rint(values * scale), scale


def bootstrap_means(values: Floats, *, resamples: int = 10_000, seed: int = 0) -> Floats:
    """Means of `values` [n, m] over resampled rows -> [resamples, m]; all m columns share each resample of the rows.

    The same for a seed and n, whatever the other columns; memory is that of the answer and a few megabytes.
    """
    if values.ndim != 2 or len(values) == 0:
        raise InputError(f"values must be [n >= 1, m], got {values.shape}")
    if not np.isfinite(values).all():
        raise InputError("values must be finite, got NaN or infinity: check what computed them")
    n = len(values)
    whole, scale = _whole(values)
    means = np.empty((resamples, values.shape[1]))
    done = 0
    for counts in _resampled_counts(n, resamples, seed):
        means[done : done + len(counts)] = counts @ whole
        done += len(counts)
    means /= scale * n
    return means


def intervals(values: Floats, *, resamples: int = 10_000, seed: int = 0, level: float = 0.95) -> list[Interval]:
    """Mean and percentile bootstrap interval of each column of `values` [n, m]; rows are images."""
    means = bootstrap_means(values, resamples=resamples, seed=seed)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0, overwrite_input=True)
    whole, scale = _whole(values)
    centre = whole.sum(axis=0) / (scale * len(values))
    return [Interval(float(v), float(a), float(b)) for v, a, b in zip(centre, low, high, strict=True)]
