"""Signs: alpha * sign(w) with one alpha per layer, as biprop has it (Diffenderfer and Kailkhura, ICLR 2021, eq. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cards_deck.training.quantizers import QUANTIZERS, inner


@QUANTIZERS.register("binary")
@dataclass(frozen=True)
class Binary:
    """One bit a kept weight; alpha is the mean magnitude of the layer's kept weights.

    Attributes:
        ends: also the first and the last layer, which keep 16 bits by default (Rastegari et al., ECCV 2016): they hold
            few weights and lose the most.
    """

    ends: bool = False

    bits: ClassVar[int] = 1

    def covers(self, weights: Sequence[str]) -> tuple[str, ...]:
        """All but the first and the last."""
        return inner(weights, self.ends)

    def grid(self, weight: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """See `Quantizer`; a kept zero counts as positive."""
        alpha = weight.mul(mask).abs().sum() / mask.sum().clamp(min=1)
        signs = torch.where(weight < 0, -1.0, 1.0).to(weight.dtype)
        return signs * mask, alpha.clamp(min=1e-12).view(1)
