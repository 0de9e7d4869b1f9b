"""SynFlow: before training and without data, keep the weights that most of the synaptic flow passes through.

The flow R is the sum of the outputs for an input of ones, all weights replaced by their magnitudes and everything else
linear and neutral (no biases, batch-norm as at the start). A weight's score w * dR/dw is the share of R on paths
through it: scores into and out of every hidden unit add up to the same, so that every layer of a plain chain has the
sum R, and a layer with few weights left has large scores. Pruned bit by bit, in `rounds` steps of one exponential
curve, no layer is emptied while another has weights to spare (the paper's theorem 3, for networks without skip
connections; beside a skip a layer may go).

Computed in double precision: magnitudes multiplied along a deep network overflow single precision.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.networks import Normalize, prunable_weights
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.pruning import check_density, keep_largest, shuffled, train_from_start
from cards_deck.training.tickets.ticket import Masks, Ticket, exact_count, full_masks


@METHODS.register("synflow")
@dataclass(frozen=True)
class SynFlow:
    """Keep the weights that carry the flow of magnitudes, without data, then train (Tanaka et al., NeurIPS 2020).

    Attributes:
        density: fraction of convolution and linear weights kept, exact to one weight [chosen here].
        rounds: prunings on the way from 1 to `density` [paper].
        shuffle: control: as many weights in each layer, at random places [Frankle et al., ICLR 2021].
    """

    density: float = 0.1
    rounds: int = 100
    shuffle: bool = False

    def __post_init__(self) -> None:
        check_density("synflow", self.density)
        if self.rounds < 1:
            raise InputError(f"synflow: `rounds` must be at least 1, got {self.rounds}")

    def masks(self, network: nn.Module, task: Task, generator: torch.Generator) -> Masks:
        """Return the masks; the network stays as it is."""
        linear, masks = linearised(network), full_masks(network)
        total = sum(mask.numel() for mask in masks.values())
        for number in range(1, self.rounds + 1):
            scores = flows(linear, masks, task.images.shape[-1])
            # What is pruned stays so: its score is below every other.
            ranked = {name: torch.where(masks[name], score, -1.0) for name, score in scores.items()}
            masks = keep_largest(ranked, exact_count(total, self.density ** (number / self.rounds)))
        return shuffled(masks, generator) if self.shuffle else masks

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Score, then train once; one ticket."""
        return train_from_start(self, network, task, generator)


@torch.no_grad()
def linearised(network: nn.Module) -> nn.Module:
    """Return a copy in double precision and eval mode with |weights|, no biases, neutral batch-norm, no input shift."""
    linear = copy.deepcopy(network).double().eval()
    for name, module in list(linear.named_modules()):
        if isinstance(module, Normalize | nn.SiLU):  # on positive values ReLU is the identity already
            parent, _, last = name.rpartition(".")
            setattr(linear.get_submodule(parent), last, nn.Identity())
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    for name, values in linear.named_parameters():
        values.copy_(torch.zeros_like(values) if name.endswith("bias") else values.abs())
    return linear


def flows(linear: nn.Module, masks: Masks, side: int) -> dict[str, Tensor]:
    """Scores w * dR/dw of every convolution and linear weight of a `linearised` network inside `masks`."""
    weights = prunable_weights(linear)
    first = next(iter(weights.values()))
    with torch.no_grad():
        for name, weight in weights.items():
            weight.mul_(masks[name])
    ones = torch.ones(1, 3, side, side, dtype=first.dtype, device=first.device)
    gradients = torch.autograd.grad(linear(ones).sum(), list(weights.values()))
    return {
        name: weight.detach() * gradient for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
    }
