"""Signs and zero: alpha * {-1, 0, 1} per layer (Li, Zhang and Liu, Ternary Weight Networks, arXiv 1605.04711, 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cards_deck.errors import InputError
from cards_deck.training.quantizers import QUANTIZERS, inner


@QUANTIZERS.register("ternary")
@dataclass(frozen=True)
class Ternary:
    """Kept weights of small magnitude become zero and stay kept; alpha is the mean magnitude of the others.

    Attributes:
        threshold: in units of the mean magnitude of the layer's kept weights; 0.7 is the paper's.
        ends: also the first and the last layer, which keep 16 bits by default.
    """

    threshold: float = 0.7
    ends: bool = False

    bits: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise InputError(f"ternary: `threshold` must lie in [0, 1), got {self.threshold}")

    def covers(self, weights: Sequence[str]) -> tuple[str, ...]:
        """All but the first and the last."""
        return inner(weights, self.ends)

    def grid(self, weight: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """See `Quantizer`."""
        size = weight.mul(mask).abs()
        large = (size > self.threshold * size.sum() / mask.sum().clamp(min=1)) & mask.bool()
        alpha = size.mul(large).sum() / large.sum().clamp(min=1)
        codes = torch.where(weight < 0, -1.0, 1.0).to(weight.dtype) * large
        return codes, alpha.clamp(min=1e-12).view(1)
