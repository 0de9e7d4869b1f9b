"""Cubic B-splines as scipy.ndimage samples them: weights, mirrored taps, zero where a coordinate lies outside."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cards_deck.corruptions._base import Floats
from cards_deck.corruptions._geometry import reflect_101

Indices = npt.NDArray[np.int64]
TIE = 1e-9  # a value half-way between two levels is rounded up whatever the last bits of its sum


def cubic_taps(at: Floats, size: int) -> tuple[Indices, Floats]:
    """The four taps of every coordinate and their weights, [4, *at.shape] each; all weights 0 outside [0, size - 1]."""
    low = np.floor(at)
    t = at - low
    z = 1 - t
    first, second, third = z**3 / 6, (t * t * (t - 2) * 3 + 4) / 6, (z * z * (z - 2) * 3 + 4) / 6
    weights = np.stack([first, second, third, 1 - first - second - third])
    weights *= (at >= 0) & (at <= size - 1)
    taps = low.astype(np.int64) + np.arange(-1, 3).reshape(4, *(1,) * at.ndim)
    return reflect_101(taps, size), weights
