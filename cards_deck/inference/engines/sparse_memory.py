"""Where values lie in the sparse engine's two arenas: those not needed at the same time share memory."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from typing import Any, Protocol


class Interval(Protocol):
    """A value that must exist from operation `first` to operation `last`."""

    first: int
    last: int
    value: Any

    @property
    def floats(self) -> int:
        """Its size."""


def assign(values: Sequence[Interval], per_image: int) -> tuple[int, int]:
    """Give every value its arena and offset; returns the floats that each arena needs for an image.

    Values that only operations before `per_image` touch lie in arena 0, of which there is one per thread. First fit,
    the largest first.
    """
    arenas: tuple[list[Interval], list[Interval]] = [], []
    for value in values:
        arena = int(value.last >= per_image)
        value.value.arena = arena
        arenas[arena].append(value)
    return _fit(arenas[0]), _fit(arenas[1])


def _fit(values: Iterable[Interval]) -> int:
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first and last operation; by offset
    for value in sorted(values, key=lambda v: -v.floats):
        size, first, last, offset = value.floats, value.first, value.last, 0
        for start, end, others_first, others_last in placed:
            if others_last < first or last < others_first:
                continue
            if offset + size <= start:
                break
            offset = max(offset, end)
        value.value.offset = offset
        insort(placed, (offset, offset + _aligned(size), first, last))
    return max((end for _, end, _, _ in placed), default=0)


def _aligned(floats: int) -> int:
    return -(-floats // 16) * 16
