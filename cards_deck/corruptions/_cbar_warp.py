"""Bilinear sampling at any coordinates, black outside the image, in the published order of operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cards_deck.corruptions._base import Floats

Indices = npt.NDArray[np.int64]


def linear_taps(at: Floats, size: int) -> tuple[Indices, Floats, Floats]:
    """Lower tap in an axis with one black pixel before it and two after, and the weights of it and of the next.

    at: coordinates in pixels; those further outside than the black border are moved there, where both taps are black.
    """
    low = np.floor(at)
    upper_weight = at - low
    outside = (low < -1) | (low > size)
    index = np.where(outside, size, low).astype(np.int64) + 1
    return index, 1 - upper_weight, upper_weight


def sampled(images: npt.NDArray[Any], rows: Floats, columns: Floats) -> Floats:
    """Values of images [n, size, size, 3] at any coordinates [n, size, size], float64; one image at a time, since that
    is faster than all taps at once."""
    size = images.shape[1]
    top, up, low = linear_taps(rows, size)
    first, left, right = linear_taps(columns, size)
    out = np.empty(images.shape)
    for place, source in enumerate(framed(images)):
        y, x = top[place], first[place]
        above, below, before, after = (weight[place][..., np.newaxis] for weight in (up, low, left, right))
        upper = source[y, x] * before + source[y, x + 1] * after
        lower = source[y + 1, x] * before + source[y + 1, x + 1] * after
        out[place] = upper * above + lower * below
    return out


def framed(images: npt.NDArray[Any]) -> Floats:
    """float64 copies with the black border that `linear_taps` counts on, [n, size + 3, size + 3, 3]."""
    n, size = images.shape[:2]
    out = np.zeros((n, size + 3, size + 3, 3))
    out[:, 1 : size + 1, 1 : size + 1] = images
    return out
