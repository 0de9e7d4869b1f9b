"""The hook that keeps a network inside its masks while it trains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from cards_deck.training.networks import prunable_weights
from cards_deck.training.tickets.ticket import Masks


class KeepMasked:
    """Mask gradients before and weights after every optimizer step.

    The stored mask decides, never a weight's value: a kept weight that passes through zero goes on training. The masks
    are copied: what a hook writes to its own leaves those it was given as they are.
    """

    def __init__(self, network: nn.Module, masks: Masks) -> None:
        self.weights = prunable_weights(network)
        self.network = network
        self.masks = {name: mask.to(self.weights[name].device, copy=True) for name, mask in masks.items()}
        self._factors: list[Tensor] = []
        self._made_of: list[tuple[Tensor, int]] = []
        self._mask_weights()

    def on_gradients(self, step: int, steps: int) -> bool:
        """Zero the gradients of pruned weights, so that no momentum builds up behind the mask."""
        gradients = [weight.grad for weight in self.weights.values() if weight.grad is not None]
        assert len(gradients) == len(self.weights)
        self._multiply(gradients)
        return False

    def after_step(self) -> None:
        """Zero what momentum moved behind the mask."""
        self._mask_weights()

    def state_dict(self) -> dict[str, Any]:
        """The masks."""
        return {"masks": self.masks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the masks and apply them."""
        for name, mask in state["masks"].items():
            self.masks[name].copy_(mask)
        self._mask_weights()

    def _mask_weights(self) -> None:
        self._multiply(self.weights.values())

    @torch.no_grad()
    def _multiply(self, tensors: Iterable[Tensor]) -> None:
        """Multiply tensors, in the order of the weights, by the masks: one call for all of them.

        The factors are floats in each weight's memory layout: multiplying a channels-last weight by a bool mask in
        rows takes 60 times as long on a CPU. They are made anew whenever a mask has been written to or replaced.
        """
        masks = [self.masks[name] for name in self.weights]
        known = self._made_of
        if len(known) != len(masks) or any(
            mask is not old or mask._version != version for mask, (old, version) in zip(masks, known, strict=True)
        ):
            weights = self.weights.values()
            self._factors = [torch.empty_like(w).copy_(m) for w, m in zip(weights, masks, strict=True)]
            self._made_of = [(mask, mask._version) for mask in masks]
        torch._foreach_mul_(list(tensors), self._factors)
