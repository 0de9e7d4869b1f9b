"""What the dynamic sparse training methods share: masks that move while a network trains, dropping and growing weights.

A method brings a `Growth`, which says where weights grow, and `Moves`, which says when and how many. Common to all:

- Weights drop by magnitude within each layer, and every layer keeps its number of weights.
- Weights grow among all that are not kept. One that the same update dropped may return, and keeps its value then
  (with `Moves.fresh` it starts at zero); others start at zero.
- No grown weight has momentum: the published code of RigL resets it, too, but only for weights that were not kept
  before; here one that returns loses its momentum as well.
- An update takes the place of the optimizer's step, as in RigL's algorithm 1. The last step of a run is never one: a
  weight grown there would never train.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.task import Task
from cards_deck.training.tickets.masked import KeepMasked
from cards_deck.training.tickets.selection import largest, smallest
from cards_deck.training.tickets.ticket import Masks, Ticket


class Growth(Protocol):
    """Where weights grow; its state travels with the checkpoint."""

    def scores(self, name: str, gradient: Tensor, step: int) -> Tensor:
        """Float of the weight's shape, from the dense gradient of the weight `name`: the largest grow first."""
        ...

    def moved(self, masks: Masks) -> None:
        """Called with the new masks when all layers have moved."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values that `load_state_dict` restores."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


class GradientGrowth:
    """Where the dense gradient is largest (RigL)."""

    def scores(self, name: str, gradient: Tensor, step: int) -> Tensor:
        """Its magnitude."""
        return gradient.abs()

    def moved(self, masks: Masks) -> None:
        """Nothing to note."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing."""


class RandomGrowth(GradientGrowth):
    """Anywhere (SET). What is drawn depends on the seed and the step alone, so there is nothing to save."""

    def __init__(self, generator: torch.Generator) -> None:
        self.seed, self.step = int(torch.randint(2**40, (), generator=generator)), -1
        self.draws = torch.Generator()

    def scores(self, name: str, gradient: Tensor, step: int) -> Tensor:
        """Uniform numbers; the gradient gives the shape and the device."""
        if step != self.step:
            self.step, self.draws = step, torch.Generator().manual_seed(self.seed + step)
        return torch.rand(gradient.shape, generator=self.draws).to(gradient.device)


@dataclass(frozen=True)
class Moves:
    """When masks move, and by how much.

    Attributes:
        interval: steps between updates.
        fraction: share of a layer's weights that moves: at the first step, where it falls, else at every update.
        end: share of the steps after which masks stay.
        falls: as a cosine to zero at `end` (RigL, equation 1), else constant.
        first: share that moves before the first step; 0: nothing does.
        fresh: a weight that returns in the update that dropped it starts at zero, as others that grow do.
    """

    interval: int
    fraction: float
    end: float = 1.0
    falls: bool = True
    first: float = 0.0
    fresh: bool = False

    def at(self, step: int, steps: int) -> float | None:
        """The share that moves in `step` (from 0) of `steps`; None where it is an ordinary step."""
        last = self.end * steps
        if step == steps - 1:
            return None
        if step == 0:
            return self.first or None
        if step >= last or step % self.interval:
            return None
        return self.fraction / 2 * (1 + math.cos(math.pi * step / last)) if self.falls else self.fraction


def check_moves(method: str, interval: int, drop_fraction: float, end: float = 1.0) -> None:
    """InputError for what masks cannot move by."""
    if interval < 1 or not 0 <= drop_fraction < 1 or not 0 <= end <= 1:
        raise InputError(
            f"{method}: `interval` must be at least 1, `drop_fraction` in [0, 1) and `end` in [0, 1], got "
            f"{interval}, {drop_fraction}, {end}"
        )


def check_updates(method: str, density: float, parts: Sequence[tuple[Moves, int]]) -> None:
    """InputError where no update comes in any of `parts` (the moves and the steps of each), so that masks would stay.

    Settings that ask for masks that stay, by shares of zero, an end at the start or whole masks, pass.
    """
    asked = [moves for moves, _ in parts if moves.first or (moves.fraction and moves.end)]
    if density == 1 or not asked:
        return
    if not any(moves.at(step, steps) for moves, steps in parts for step in range(steps)):
        raise InputError(
            f"{method}: `interval` must let an update of the masks come while they may move, got {asked[0].interval} "
            f"for {sum(steps for _, steps in parts)} steps in all: lower it (--method.interval) or train longer"
        )


class DropAndGrow(KeepMasked):
    """Keep the network in its masks and move them when it is time, in place of the optimizer's step."""

    def __init__(
        self, network: nn.Module, masks: Masks, optimizer: torch.optim.SGD, growth: Growth, moves: Moves
    ) -> None:
        super().__init__(network, masks)
        self.optimizer, self.growth, self.moves = optimizer, growth, moves

    @torch.no_grad()
    def on_gradients(self, step: int, steps: int) -> bool:
        """Update the masks from the dense gradients where it is time, else mask the gradients."""
        fraction = self.moves.at(step, steps)
        if fraction is None:
            return super().on_gradients(step, steps)
        for name, weight in self.weights.items():
            assert weight.grad is not None
            scores = self.growth.scores(name, weight.grad, step)
            grown = drop_and_grow(weight, scores, self.masks[name], fraction, fresh=self.moves.fresh)
            momentum = self.optimizer.state[weight].get("momentum_buffer")
            if momentum is not None:
                momentum[grown] = 0
        self.growth.moved(self.masks)
        return True

    def state_dict(self) -> dict[str, Any]:
        """The masks and the growth's state."""
        return {**super().state_dict(), "growth": self.growth.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both."""
        super().load_state_dict(state)
        self.growth.load_state_dict(state["growth"])


def train_dynamic(
    network: nn.Module, masks: Masks, task: Task, growth: Growth, moves: Moves, stage: str = "train", **options: Any
) -> Ticket:
    """Train `network` once inside moving masks that start as `masks`; `options` are those of `Task.train`."""
    hooks: list[DropAndGrow] = []

    def make(optimizer: torch.optim.SGD) -> list[DropAndGrow]:
        hooks[:] = [DropAndGrow(network, masks, optimizer, growth, moves)]
        return hooks

    trained = task.train(network, hooks=make, stage=stage, **options)
    return Ticket.of(trained, hooks[0].masks)


def drop_and_grow(weight: Tensor, scores: Tensor, mask: Tensor, fraction: float, *, fresh: bool = False) -> Tensor:
    """Move `mask` in place and return the grown positions (bool, the weight's shape).

    Drops the round(fraction * kept) kept weights of smallest magnitude, then grows as many of the largest scores
    among all that are not kept. A weight just dropped may return and then keeps its value, or starts at zero as others
    that grow do, if `fresh`. Ties go to the lower index, so the same input gives the same mask.
    """
    kept = mask.flatten()
    number = int(kept.sum())
    count = min(round(fraction * number), kept.numel() - number)
    if count == 0:
        return torch.zeros_like(mask)
    survivors = kept & ~smallest(torch.where(kept, weight.abs().flatten(), torch.inf), count)
    grown = largest(torch.where(survivors, -torch.inf, scores.flatten()), count)
    after = survivors | grown
    weight.mul_((survivors if fresh else after).view_as(weight))
    mask.copy_(after.view_as(mask))
    return grown.view_as(mask)
