"""Bilinear sampling at any coordinates, black outside the image, in the published order of operations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cards_deck.corruptions._base import Floats, Images

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


def framed(images: Images) -> Floats:
    """float64 copies with the black border that `linear_taps` counts on, [n, size + 3, size + 3, 3]."""
    n, size = images.shape[:2]
    out = np.zeros((n, size + 3, size + 3, 3))
    out[:, 1 : size + 1, 1 : size + 1] = images
    return out
