"""Where values lie in the sparse engine's two arenas: those not needed at the same time share memory."""

from __future__ import annotations

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
    placed: list[Interval] = []
    end = 0
    for value in sorted(values, key=lambda v: -v.floats):
        offset = 0
        for other in sorted(placed, key=lambda v: int(v.value.offset)):
            if other.last < value.first or value.last < other.first:
                continue
            if offset + value.floats <= other.value.offset:
                break
            offset = max(offset, int(other.value.offset) + _aligned(other.floats))
        value.value.offset = offset
        placed.append(value)
        end = max(end, offset + _aligned(value.floats))
    return end


def _aligned(floats: int) -> int:
    return -(-floats // 16) * 16
