"""A mask as gaps: the number of pruned weights before each kept one. What follows the last kept one is not written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cards_deck.coding import Bytes, Mask

Gaps = NDArray[np.int64]
SKIP = 255  # a byte that skips as many pruned weights and goes on


def gaps_of(mask: Mask) -> Gaps:
    """int64 [kept]: pruned weights before each kept one."""
    return np.diff(np.flatnonzero(mask), prepend=-1) - 1


def mask_of(gaps: Gaps, size: int) -> Mask:
    """The inverse of `gaps_of`; ValueError where the last kept weight would lie beyond `size`."""
    positions = np.cumsum(gaps + 1) - 1
    if len(positions) and positions[-1] >= size:
        raise ValueError(f"its mask reaches beyond its {size} weights")
    mask = np.zeros(size, np.bool_)
    mask[positions] = True
    return mask


def gap_bytes(mask: Mask) -> Bytes:
    """Each gap as bytes: 255 for every 255 weights skipped, then the rest."""
    gaps = gaps_of(mask)
    skips = gaps // SKIP
    ends = np.cumsum(skips + 1) - 1
    data = np.full(int(ends[-1]) + 1 if len(ends) else 0, SKIP, np.uint8)
    data[ends] = gaps % SKIP
    return data


def mask_of_gap_bytes(data: Bytes, size: int, kept: int) -> Mask:
    """The inverse of `gap_bytes`; ValueError for other data."""
    ends = np.flatnonzero(data != SKIP)
    if len(ends) != kept or (len(data) and int(data[-1]) == SKIP):
        raise ValueError(f"its mask does not hold {kept} gaps")
    passed = np.cumsum(data, dtype=np.int64)[ends]
    return mask_of(np.diff(passed, prepend=0), size)


def longest_gap_bytes(size: int, kept: int) -> int:
    """Most bytes that `gap_bytes` makes of a mask of `size` weights, `kept` of them True."""
    return kept + (size - kept) // SKIP
