"""Is a difference in one cell more than luck? Exact McNemar tests, and Holm's correction for asking many times."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cards_deck.errors import InputError
from eval.metrics._arrays import Floats, finite_row


class McNemar(NamedTuple):
    """`gained` images that only the first answers rightly, `lost` that only the second does, and the p-value."""

    gained: int
    lost: int
    p: float


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """McNemar's test (1947) on two rows of right and wrong [n] over the same images, exact and two-sided.

    Under the hypothesis that both are equally good, each image on which they differ is a fair coin: p is twice the
    smaller tail of Binomial(gained + lost, 1/2), at most 1. Whole numbers throughout, so exact for any n.
    """
    one, two = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if one.ndim != 1 or one.shape != two.shape:
        raise InputError(f"both rows must be [n] over the same images, got {list(one.shape)} and {list(two.shape)}")
    gained, lost = int((one & ~two).sum()), int((two & ~one).sum())
    return McNemar(gained, lost, _two_sided(min(gained, lost), gained + lost))


def holm(p: ArrayLike) -> Floats:
    """p-values [m] adjusted so that rejecting those below a level keeps the chance of any false rejection under it
    (Holm, 1979): the i-th smallest times m - i + 1, made rising, at most 1; in the order given."""
    given = finite_row(p, "p")
    if given.min() < 0 or given.max() > 1:
        raise InputError(f"p must be in [0, 1], got {given.min()} to {given.max()}")
    order = np.argsort(given, kind="stable")
    adjusted = np.empty(len(given))
    adjusted[order] = np.minimum(np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1)), 1)
    return adjusted


def _two_sided(fewer: int, total: int) -> float:
    ways, tail = 1, 0
    for chosen in range(fewer + 1):
        tail += ways
        ways = ways * (total - chosen) // (chosen + 1)
    return min(1.0, 2 * tail / (1 << total))
