"""Budgeted iterative magnitude pruning (BIMP): dense training and all prunings inside one fixed number of epochs.

The first epochs train the dense network with a learning rate that falls linearly to zero. Then, in each of J rounds,
the weights of smallest magnitude over all layers go, so many that every round keeps the same share of the survivors,
and the network is retrained for its part of the epochs that are left. Weights, batch-norm and the optimizer's momentum
go on from round to round. (The published code measures the network on training images in training mode after pruning,
which moves batch-norm's statistics; not done here.)

Learning rates of a retraining of n epochs, after N dense ones that peaked at `peak`:

    ft    constant at the last rate of the dense training (Han et al., NeurIPS 2015)
    lrw   learning-rate rewinding: the last n epochs of the dense training again (Renda et al., ICLR 2020); n <= N
    slr   scaled restarting: the whole dense training again, in n epochs (Le & Hua, ICLR 2021)
    clr   cyclic restarting: a cosine from the peak to the last rate (Le & Hua, ICLR 2021)
    llr   linear restarting: linearly from the peak to zero (the paper's own)
    allr  adaptive: llr from peak * |pruned| / (|weights| * sqrt(share pruned)), but at least peak * n / N and at most
          peak: what a round takes away decides how much must be learned again

The last four rise from zero in the first tenth of the retraining, along half a cosine as in the published code. After a
linear dense training `ft` has next to no rate: it is meant for `dense_rate` = schedule with a stepwise one.
The norms that `allr` compares are those of convolution and linear weights; batch-norm and biases do not count.
Unverified: whether the paper's headline runs of BIMP use llr or allr; both are here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from cards_deck.errors import InputError
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.pruning import PruneOnTheWay, check_density
from cards_deck.training.tickets.retraining import RETRAININGS, Plan, Rates
from cards_deck.training.tickets.ticket import Ticket, exact_count


@METHODS.register("bimp")
@dataclass(frozen=True)
class Bimp:
    """Dense training and iterative pruning inside one fixed budget of epochs (Zimmer et al., ICLR 2023).

    Attributes:
        density: fraction of convolution and linear weights kept at the end, exact to one weight [chosen here].
        rounds: prunings, each followed by a retraining [chosen here; the paper tunes it].
        dense: share of the schedule's epochs that train the dense network [chosen here; the paper tunes it].
        retrain: learning rates of the retrainings: `llr`, `allr`, `ft`, `lrw`, `slr` or `clr` [paper].
        dense_rate: of the dense training: `linear`, or as the `schedule` has it [paper].
    """

    density: float = 0.1
    rounds: int = 3
    dense: float = 0.5
    retrain: Literal["allr", "clr", "ft", "llr", "lrw", "slr"] = "llr"
    dense_rate: Literal["linear", "schedule"] = "linear"

    def __post_init__(self) -> None:
        check_density("bimp", self.density)
        if self.rounds < 1 or not 0 < self.dense < 1:
            raise InputError(
                f"bimp: `rounds` must be at least 1 and `dense` lie in (0, 1), got {self.rounds} and {self.dense}"
            )
        if self.retrain not in RETRAININGS or self.dense_rate not in ("linear", "schedule"):
            raise InputError(
                f"bimp: `retrain` must be one of {', '.join(RETRAININGS)} and `dense_rate` linear or schedule, got "
                f"{self.retrain!r} and {self.dense_rate!r}"
            )

    def plan(self, epochs: int) -> Plan:
        """Split `epochs`: the dense part, then equal rounds, the later ones longer where it does not come out even."""
        dense = max(1, round(self.dense * epochs))
        left = epochs - dense
        if left < self.rounds:
            raise InputError(
                f"bimp: {self.rounds} rounds need an epoch each after the {dense} dense ones of {epochs}: raise "
                "`epochs` of the schedule or lower `rounds` or `dense`"
            )
        plan = Plan((0, *(dense + round_ * left // self.rounds for round_ in range(self.rounds + 1))))
        longest = max(plan.length(phase) for phase in range(1, self.rounds + 1))
        if self.retrain == "lrw" and longest > dense:
            raise InputError(
                f"bimp: lrw replays the end of the dense training, which must have at least {longest} epochs, not "
                f"{dense}: raise `dense` or `rounds`"
            )
        return plan

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train once; one ticket."""
        steps, plan = task.steps(), self.plan(task.schedule.epochs)
        per_epoch = steps // task.schedule.epochs
        dense_rate = task.schedule.rate
        if self.dense_rate == "linear":
            dense_rate = replace(task.schedule, decay="linear").rate
        hook = Rounds(network, self, [start * per_epoch for start in plan.starts[1:-1]])
        rates = Rates(self.retrain, dense_rate, task.schedule.warmup, task.schedule.learning_rate, plan, per_epoch)

        def rate(progress: float) -> float:
            return rates(round(progress * steps), hook.norm_drops)

        trained = task.train(network, hooks=lambda optimizer: [hook], rate=rate)
        return (Ticket.of(trained, hook.masks),)


class Rounds(PruneOnTheWay):
    """Prune when the steps of `starts` have been taken, and remember how much of the norm each round took away."""

    def __init__(self, network: nn.Module, settings: Bimp, starts: list[int]) -> None:
        super().__init__(network, self._due)
        self.starts = starts
        total = sum(mask.numel() for mask in self.masks.values())
        shares = [settings.density ** (number / settings.rounds) for number in range(1, settings.rounds + 1)]
        self.counts = [exact_count(total, share) for share in shares]
        self.norm_drops: list[float] = []

    def _due(self, taken: int, steps: int) -> int | None:
        return self.counts[self.starts.index(taken)] if taken in self.starts else None

    @torch.no_grad()
    def prune(self, kept: int | Any) -> None:
        """Prune, and note |pruned| / (|weights| * sqrt(share pruned)), the norms Euclidean."""
        before, survivors = self._norm(), self._survivors()
        super().prune(kept)
        lost = math.sqrt(max(before**2 - self._norm() ** 2, 0.0))
        share = 1 - self._survivors() / survivors
        self.norm_drops.append(lost / (before * math.sqrt(share)) if share and before else 0.0)

    def _norm(self) -> float:
        return math.sqrt(sum(float(weight.double().square().sum()) for weight in self.weights.values()))

    def _survivors(self) -> int:
        return sum(int(mask.sum()) for mask in self.masks.values())

    def state_dict(self) -> dict[str, Any]:
        """The masks and the notes."""
        return {**super().state_dict(), "norm_drops": list(self.norm_drops)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both."""
        super().load_state_dict(state)
        self.norm_drops[:] = state["norm_drops"]
