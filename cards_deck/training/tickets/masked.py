"""The hook that keeps a network inside its masks while it trains."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from cards_deck.training.networks import prunable_weights
from cards_deck.training.tickets.ticket import Masks, apply_masks


class KeepMasked:
    """Mask gradients before and weights after every optimizer step.

    The stored mask decides, never a weight's value: a kept weight that passes through zero goes on training.
    """

    def __init__(self, network: nn.Module, masks: Masks) -> None:
        self.weights = prunable_weights(network)
        self.network = network
        self.masks = {name: mask.to(self.weights[name].device) for name, mask in masks.items()}
        apply_masks(network, self.masks)

    @torch.no_grad()
    def on_gradients(self, step: int, steps: int) -> bool:
        """Zero the gradients of pruned weights, so that no momentum builds up behind the mask."""
        for name, weight in self.weights.items():
            assert weight.grad is not None
            weight.grad.mul_(self.masks[name])
        return False

    def after_step(self) -> None:
        """Zero what momentum moved behind the mask."""
        apply_masks(self.network, self.masks)

    def state_dict(self) -> dict[str, Any]:
        """The masks."""
        return {"masks": self.masks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the masks and apply them."""
        for name, mask in state["masks"].items():
            self.masks[name].copy_(mask)
        apply_masks(self.network, self.masks)
