"""Gradual magnitude pruning (GMP): one training run that prunes on its way, along a cubic curve.

Between the steps t0 and t1 the share pruned is

    s(t) = s_final * (1 - (1 - (t - t0) / (t1 - t0))^3),

equation 1 of the paper with nothing pruned at first: fast where much is redundant, slow at the end. It is brought up to
date every `interval` steps; the last time, at t1, is exact. The optimizer goes on with its momentum.

A pruned weight is zero and stays so. (In the paper's first implementation a pruned weight keeps its hidden value and
could return if survivors shrink below it; whether that was meant is not said.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from cards_deck.errors import InputError
from cards_deck.training.networks import prunable_weights
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.allocation import layer_counts
from cards_deck.training.tickets.pruning import PruneOnTheWay, check_density
from cards_deck.training.tickets.ticket import Ticket, exact_count


@METHODS.register("gradual_magnitude")
@dataclass(frozen=True)
class GradualMagnitude:
    """Prune along a cubic curve while training once (Zhu and Gupta, arXiv 2017).

    Attributes:
        density: fraction of convolution and linear weights kept at the end, exact to one weight [chosen here].
        distribution: `uniform`, every layer at the same density; `erk` over the layers; or `global`, the smallest
            weights of all [paper, section 3: uniform].
        start: share of the steps after which pruning begins [chosen here; the paper begins once training has settled].
        end: share of the steps after which the mask stays fixed [chosen here; while the learning rate is still high].
        interval: steps between prunings [paper, section 3: 100 to 1000 make no difference].
    """

    density: float = 0.1
    distribution: Literal["uniform", "erk", "global"] = "uniform"
    start: float = 0.1
    end: float = 0.7
    interval: int = 100

    def __post_init__(self) -> None:
        check_density("gradual_magnitude", self.density)
        if not 0 <= self.start < self.end < 1 or self.interval < 1:
            raise InputError(
                "gradual_magnitude: 0 <= `start` < `end` < 1 and `interval` of at least 1 are needed, got "
                f"{self.start}, {self.end} and {self.interval}"
            )
        if self.distribution not in ("uniform", "erk", "global"):
            raise InputError(
                f"gradual_magnitude: `distribution` must be erk, global or uniform, got {self.distribution!r}"
            )

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train once; one ticket."""
        steps = task.steps()
        if not 0 < round(self.end * steps) < steps or round(self.start * steps) >= round(self.end * steps):
            raise InputError(
                f"gradual_magnitude: {steps} steps leave none to prune on or none to train after the last pruning: "
                "train longer, or move `start` and `end`"
            )
        if round(self.end * steps) - round(self.start * steps) <= self.interval:
            raise InputError(
                f"gradual_magnitude: `interval` must let a pruning come between the first and the last, got "
                f"{self.interval} for {round(self.end * steps) - round(self.start * steps)} steps between `start` and "
                "`end`: lower it (--method.interval) or train longer"
            )
        shapes = {name: tuple(weight.shape) for name, weight in prunable_weights(network).items()}
        sizes = {name: weight.numel() for name, weight in prunable_weights(network).items()}
        total = sum(sizes.values())
        final: Mapping[str, int] = {"": exact_count(total, self.density)}
        if self.distribution != "global":
            final = layer_counts(shapes, self.density, self.distribution)

        def due(taken: int, steps: int) -> int | Mapping[str, int] | None:
            share = self.pruned_share(taken, steps)
            if share is None:
                return None
            if self.distribution == "global":
                return total - round(share * (total - final[""]))
            return {name: size - round(share * (size - final[name])) for name, size in sizes.items()}

        hook = PruneOnTheWay(network, due)
        trained = task.train(network, hooks=lambda optimizer: [hook])
        return (Ticket.of(trained, hook.masks),)

    def pruned_share(self, taken: int, steps: int) -> float | None:
        """Share of what is pruned in the end that is to be pruned after `taken` steps; None: no pruning then."""
        first, last = round(self.start * steps), round(self.end * steps)
        if not first <= taken <= last or ((taken - first) % self.interval and taken != last):
            return None
        return 1 - (1 - (taken - first) / (last - first)) ** 3
