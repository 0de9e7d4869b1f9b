"""Whole numbers of 8 bits, one scale per output, symmetric (Jacob et al., CVPR 2018; Krishnamoorthi, arXiv 1806.08342).

Activations are 8 bits too, in the engine: `cards_deck.training.calibration` finds their ranges and the card
stores them. All layers are quantized, the first and the last included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cards_deck.errors import InputError
from cards_deck.training.quantizers import QUANTIZERS


@QUANTIZERS.register("int8")
@dataclass(frozen=True)
class Int8:
    """Weights per output channel, activations per value.

    Attributes:
        reduced: codes from -64 to 64 instead of -127 to 127: CPUs without VNNI add two products of a weight and an
            activation in 16 bits, which 2 * 255 * 64 fits and 2 * 255 * 127 does not.
        images: training images, augmented as the card's were, whose activations give the ranges.
        share: share of an activation's values inside its range; those beyond are clipped.
    """

    reduced: bool = True
    images: int = 1000
    share: float = 0.9999

    bits: ClassVar[int] = 8

    def __post_init__(self) -> None:
        if self.images < 1 or not 0.5 < self.share <= 1:
            raise InputError(f"int8: needs `images` >= 1 and `share` in (0.5, 1], got {self.images} and {self.share}")

    def covers(self, weights: Sequence[str]) -> tuple[str, ...]:
        """All."""
        return tuple(weights)

    def grid(self, weight: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """See `Quantizer`. The largest weight of an output gets the largest code; one without weights, its layer's."""
        levels = 64 if self.reduced else 127
        largest = weight.mul(mask).abs().flatten(1).amax(1)
        whole = largest.max().clamp(min=1e-12)
        scale = torch.where(largest > 1e-6 * whole, largest, whole) / levels
        spread = scale.view(-1, *[1] * (weight.dim() - 1))
        return (weight * mask / spread).round().clamp(-levels, levels), scale
