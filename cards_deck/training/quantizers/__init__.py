"""Which values the kept weights may take, one quantizer per file.

A quantizer is a frozen dataclass registered in `QUANTIZERS`. It maps a weight and its mask to codes and a scale, so
that the card's weight is code * scale; the mask stays as it is. `straight_through.py` trains under it,
`cards_deck.training.quantizing` makes cards of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from torch import Tensor

from cards_deck.registry import Registry, discover

__all__ = ["QUANTIZERS", "Quantizer", "inner"]


class Quantizer(Protocol):
    """A rule for values."""

    bits: ClassVar[int]  # width of a kept value in the card's file; 16 and 32 are floats without a scale

    def covers(self, weights: Sequence[str]) -> tuple[str, ...]:
        """Which of the network's weights, named in order of use, it quantizes; the others keep 16 bits."""
        ...

    def grid(self, weight: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(codes, whole numbers as floats in the weight's shape, 0 outside the mask; scale [1] or [outputs], > 0)."""
        ...


def inner(weights: Sequence[str], ends: bool) -> tuple[str, ...]:
    """All weights but the first and the last, or all where `ends` is True."""
    return tuple(weights) if ends else tuple(weights[1:-1])


QUANTIZERS: Registry[Quantizer] = Registry("quantizer")
discover(__name__, __path__)
