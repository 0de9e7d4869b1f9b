"""RigL: drop small weights, grow where the dense gradient is large, from scratch (Evci et al., ICML 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.allocation import random_masks
from cards_deck.training.tickets.masked import KeepMasked
from cards_deck.training.tickets.ticket import Masks, Ticket


@METHODS.register("rigl")
@dataclass(frozen=True)
class RigL:
    """Algorithm 1 of the paper, with the cosine drop fraction of its equation 1.

    Attributes:
        density: fraction of convolution and linear weights kept, exact to one weight, at every step.
        distribution: `erk`, `uniform` or, for speed, `flops` over the layers.
        interval: steps between mask updates.
        drop_fraction: share alpha of a layer's weights replaced at the first update.
        end: share of the steps after which the mask stays fixed.
    """

    density: float = 0.1
    distribution: str = "erk"
    interval: int = 100
    drop_fraction: float = 0.3
    end: float = 0.75

    def __post_init__(self) -> None:
        if self.interval < 1 or not 0 <= self.drop_fraction < 1 or not 0 <= self.end <= 1:
            raise InputError(
                "rigl: `interval` must be at least 1, `drop_fraction` in [0, 1) and `end` in [0, 1], got "
                f"{self.interval}, {self.drop_fraction}, {self.end}"
            )

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train once with moving masks; one ticket."""
        size = task.images.shape[-1]
        masks = random_masks(network, self.density, self.distribution, generator, size)
        hooks: list[DropAndGrow] = []

        def make(optimizer: torch.optim.SGD) -> list[DropAndGrow]:
            hooks.append(DropAndGrow(network, masks, optimizer, self))
            return hooks

        trained = task.train(network, hooks=make)
        return (Ticket.of(trained, hooks[0].masks),)


class DropAndGrow(KeepMasked):
    """Keep the network in its masks and move them every `interval` steps, in place of the optimizer's step.

    Every grown weight starts without momentum, also one that the same update dropped (its value it keeps).
    """

    def __init__(self, network: nn.Module, masks: Masks, optimizer: torch.optim.SGD, settings: RigL) -> None:
        super().__init__(network, masks)
        self.optimizer, self.settings = optimizer, settings

    @torch.no_grad()
    def on_gradients(self, step: int, steps: int) -> bool:
        """Update the masks from the dense gradients where it is time, else mask the gradients."""
        last = self.settings.end * steps
        if step == 0 or step >= last or step % self.settings.interval:
            return super().on_gradients(step, steps)
        fraction = self.settings.drop_fraction / 2 * (1 + math.cos(math.pi * step / last))
        for name, weight in self.weights.items():
            assert weight.grad is not None
            grown = drop_and_grow(weight, weight.grad, self.masks[name], fraction)
            momentum = self.optimizer.state[weight].get("momentum_buffer")
            if momentum is not None:
                momentum[grown] = 0
        return True


def drop_and_grow(weight: Tensor, gradient: Tensor, mask: Tensor, fraction: float) -> Tensor:
    """Move `mask` in place and return the grown positions (bool, the weight's shape).

    Drops the round(fraction * kept) kept weights of smallest magnitude, then grows as many of largest gradient
    magnitude among all that are not kept. A weight just dropped may return and then keeps its value; others that
    grow start at zero. Ties go to the lower index, so the same input gives the same mask.
    """
    kept = mask.flatten().clone()
    count = min(round(fraction * int(kept.sum())), int((~kept).sum()))
    if count == 0:
        return torch.zeros_like(mask)
    magnitude = torch.where(kept, weight.abs().flatten(), torch.inf)
    survivors = kept.clone()
    survivors[magnitude.argsort(stable=True)[:count]] = False
    score = torch.where(survivors, -torch.inf, gradient.abs().flatten())
    chosen = score.argsort(descending=True, stable=True)[:count]
    after = survivors.clone()
    after[chosen] = True
    grown = after & ~survivors
    weight.mul_(after.view_as(weight))
    mask.copy_(after.view_as(mask))
    return grown.view_as(mask)
