"""Training under a quantizer with the mask fixed: the hook that keeps weights on their grid.

BinaryConnect (Courbariaux et al., NeurIPS 2015) with any grid: the network computes with quantized weights, and the
gradient at those moves the latent weights, as if rounding had slope one (the straight-through estimator of Bengio et
al., arXiv 1308.3432). The loop, the checkpoints and validation see quantized weights only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cards_deck.training.quantizers import Quantizer
from cards_deck.training.tickets.masked import KeepMasked
from cards_deck.training.tickets.ticket import Masks


class KeepQuantized(KeepMasked):
    """Keep a network inside its masks, and the weights in `covered` on the quantizer's grid, between any two steps."""

    def __init__(self, network: nn.Module, masks: Masks, quantizer: Quantizer, covered: Sequence[str]) -> None:
        super().__init__(network, masks)
        self.quantizer = quantizer
        self.latent = {name: self.weights[name].detach().clone() for name in covered}
        self._quantize()

    @torch.no_grad()
    def on_gradients(self, step: int, steps: int) -> bool:
        """Mask the gradients and put the latent weights in place, for the optimizer to move."""
        for name, latent in self.latent.items():
            self.weights[name].copy_(latent)
        return super().on_gradients(step, steps)

    @torch.no_grad()
    def after_step(self) -> None:
        """Take the moved weights as latent ones and compute with their quantized values again."""
        super().after_step()
        for name, latent in self.latent.items():
            latent.copy_(self.weights[name])
        self._quantize()

    def state_dict(self) -> dict[str, Any]:
        """Masks and latent weights."""
        return {**super().state_dict(), "latent": self.latent}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both and quantize."""
        super().load_state_dict(state)
        for name, latent in state["latent"].items():
            self.latent[name].copy_(latent)
        self._quantize()

    @torch.no_grad()
    def _quantize(self) -> None:
        for name, latent in self.latent.items():
            self.weights[name].copy_(on_grid(latent, self.masks[name], self.quantizer)[0])


def on_grid(weight: Tensor, mask: Tensor, quantizer: Quantizer) -> tuple[Tensor, Tensor]:
    """(quantized weight, scale [1] or [outputs]), both float32; values are one float32 product of code and scale."""
    codes, scale = quantizer.grid(weight, mask)
    # Adding zero turns -0 into 0, which codes cannot tell apart.
    return codes * scale.view(-1, *[1] * (weight.dim() - 1)) + 0.0, scale
