"""A ticket: the masks and the weights of a sparse subnetwork."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.networks import prunable_weights

Masks = dict[str, Tensor]


@dataclass(frozen=True)
class Ticket:
    """Masks by weight name (bool, the weight's shape) and the network's whole state with pruned weights at zero."""

    masks: Mapping[str, Tensor]
    state: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        for name, mask in self.masks.items():
            if mask.dtype != torch.bool or mask.shape != self.state[name].shape:
                got = f"{mask.dtype} {tuple(mask.shape)}"
                raise InputError(f"the mask of {name} must be bool of the weight's shape, got {got}")
            if bool((self.state[name][~mask] != 0).any()):
                raise InputError(f"{name} has weights outside its mask: multiply it by the mask first")

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
        return density(self.masks)


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
