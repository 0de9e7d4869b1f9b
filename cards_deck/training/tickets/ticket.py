"""A ticket: the masks and the weights of a sparse subnetwork."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.networks import prunable_weights

if TYPE_CHECKING:
    from cards_deck.training.quantizers import Quantizer

Masks = dict[str, Tensor]


@dataclass(frozen=True)
class Ticket:
    """Masks and weights, and what else a method decides about the network.

    Attributes:
        masks: by weight name, bool of the weight's shape.
        state: the network's whole state, pruned weights at zero.
        quantizer: whose grid the weights lie on; None where they are floats.
        scales: with a quantizer, float32 [1] or [outputs] per weight on its grid: value = whole code * scale.
        network: the ticket's own module on the CPU, where it has another architecture than the recipe's (only its
            structure is read); None: the recipe's.
        weights: convolution and linear weights of the network it was cut from, which `density` counts against, where
            that is not the number in `masks`.
        number: which of the tickets of one run it is, from 1; None where the run gives one.
    """

    masks: Mapping[str, Tensor]
    state: Mapping[str, Tensor]
    quantizer: Quantizer | None = None
    scales: Mapping[str, Tensor] = field(default_factory=dict)
    network: nn.Module | None = None
    weights: int | None = None
    number: int | None = None

    def __post_init__(self) -> None:
        for name, mask in self.masks.items():
            if mask.dtype != torch.bool or mask.shape != self.state[name].shape:
                got = f"{mask.dtype} {tuple(mask.shape)}"
                raise InputError(f"the mask of {name} must be bool of the weight's shape, got {got}")
            if bool((self.state[name][~mask] != 0).any()):
                raise InputError(f"{name} has weights outside its mask: multiply it by the mask first")
        if bool(self.scales) != (self.quantizer is not None and self.quantizer.bits < 16):
            raise InputError("a ticket has scales if its quantizer has fewer than 16 bits, and only then")
        total = sum(mask.numel() for mask in self.masks.values())
        if self.weights is not None and self.weights < total:
            raise InputError(f"`weights` counts the network it was cut from, at least {total}, got {self.weights}")

    @classmethod
    def of(cls, network: nn.Module, masks: Mapping[str, Tensor]) -> Ticket:
        """Copy `network`'s state to the CPU with `masks` applied."""
        state = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
        kept = {name: mask.cpu().clone() for name, mask in masks.items()}
        for name, mask in kept.items():
            state[name] = torch.where(mask, state[name], 0.0)
        return cls(kept, state)

    @property
    def density(self) -> float:
        """Fraction of convolution and linear weights kept, stem and head included."""
        if self.weights is None:
            return density(self.masks)
        return sum(int(mask.sum()) for mask in self.masks.values()) / self.weights

    def on_grid(self, quantizer: Quantizer, names: Sequence[str]) -> Ticket:
        """This ticket with its weights `names` moved to `quantizer`'s grid (of fewer than 16 bits)."""
        state, scales = dict(self.state), {}
        for name in names:
            codes, scales[name] = quantizer.grid(state[name], self.masks[name])
            # Adding zero turns -0 into 0, which codes cannot tell apart.
            state[name] = codes * scales[name].view(-1, *[1] * (codes.dim() - 1)) + 0.0
        return replace(self, state=state, quantizer=quantizer, scales=scales)


def density(masks: Mapping[str, Tensor]) -> float:
    """Fraction of True over all masks."""
    return float(sum(int(mask.sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values()))


def full_masks(network: nn.Module) -> Masks:
    """Return all-True masks of every convolution and linear weight."""
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(network).items()}


@torch.no_grad()
def apply_masks(network: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Zero the pruned weights of `network` in place. Batch-norm and biases are never masked."""
    for name, weight in prunable_weights(network).items():
        weight.mul_(masks[name])


def exact_count(total: int, fraction: float) -> int:
    """Number of weights that `fraction` of `total` stands for: the nearest integer, at least 1."""
    return max(1, round(total * fraction))
