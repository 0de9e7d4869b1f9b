"""FreeTickets: an ensemble of sparse networks for less than one dense training (Liu et al., ICLR 2022).

`edst` is one run. It explores at a constant learning rate; then it refines again and again, at a tenth of that rate
and, from the middle of each refinement, at a hundredth. The network at the end of each refinement is a ticket. Every
refinement but the first begins by moving `escape` of the weights, so that it settles elsewhere. `dst` is one whole run
per ticket, each from weights, masks and an order of the data of its own. The answer is the mean of the tickets'
softmax: they are cards of one deck that answer together.

Masks move at every `interval` all along, as in the published code, by a constant share. Momentum goes on from one stage
to the next, as there, and a weight that the same update dropped and grew again starts at zero. What differs: an
update of the masks takes the place of the optimizer's step, as in RigL (there, the step is taken first); grown weights
have no momentum (there, they have that of their dense gradients); masks have exactly the wanted number of
weights (there, drawn one by one); a ticket is the last network of its refinement, not the best on validation images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import nn

from cards_deck.errors import InputError
from cards_deck.training.networks import draw_anew
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.allocation import check_distribution, random_masks
from cards_deck.training.tickets.dynamic import GradientGrowth, Moves, check_moves, check_updates, train_dynamic
from cards_deck.training.tickets.pruning import check_density
from cards_deck.training.tickets.stages import Stages, stage_task
from cards_deck.training.tickets.ticket import Masks, Ticket


@METHODS.register("free_tickets")
@dataclass(frozen=True)
class FreeTickets:
    """Take several tickets, to be averaged, from one run whose masks move (Liu et al., ICLR 2022).

    Attributes:
        density: fraction of convolution and linear weights that each ticket keeps [paper].
        kind: `edst`: one run that explores, then refines `tickets` times; `dst`: as many whole runs [paper].
        tickets: how many [paper].
        distribution: `erk`, `uniform` or `flops` over the layers [paper].
        interval: steps between mask updates [published code].
        drop_fraction: share of a layer's weights that an update replaces [published code].
        exploration: share of the epochs that `edst` explores, before it refines in equal parts [paper: 150 of 450].
        escape: share of a layer's weights replaced where a refinement begins, but the first [published code].
    """

    density: float = 0.2
    kind: Literal["edst", "dst"] = "edst"
    tickets: int = 3
    distribution: str = "erk"
    interval: int = 1000
    drop_fraction: float = 0.5
    exploration: float = 1 / 3
    escape: float = 0.8

    def __post_init__(self) -> None:
        check_density("free_tickets", self.density)
        check_distribution("free_tickets", self.distribution)
        check_moves("free_tickets", self.interval, self.drop_fraction)
        if self.kind not in ("edst", "dst") or self.tickets < 1:
            raise InputError(
                f"free_tickets: `kind` must be edst or dst and `tickets` 1 or more, got {self.kind!r}, {self.tickets}"
            )
        if not (0 < self.exploration < 1 and 0 <= self.escape < 1):
            raise InputError(
                "free_tickets: `exploration` must lie in (0, 1) and `escape` in [0, 1), got "
                f"{self.exploration}, {self.escape}"
            )

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train once (`edst`) or `tickets` times (`dst`); that many tickets."""
        check_updates("free_tickets", self.density, self._parts(task))
        found = self._refined(network, task, generator) if self.kind == "edst" else self._runs(network, task, generator)
        return tuple(replace(ticket, number=number) for number, ticket in enumerate(found, 1))

    def _runs(self, network: nn.Module, task: Task, generator: torch.Generator) -> Iterator[Ticket]:
        for run in range(self.tickets):
            if run:
                draw_anew(network, generator)
            masks = self._masks(network, task, generator)
            yield train_dynamic(
                network, masks, stage_task(task, run), GradientGrowth(), self._moves(), f"run-{run + 1}"
            )

    def _refined(self, network: nn.Module, task: Task, generator: torch.Generator) -> Iterator[Ticket]:
        explored, *refined = self.epochs(task.schedule.epochs)
        peak = task.schedule.learning_rate
        constant = replace(task, schedule=replace(task.schedule, decay="constant"))
        stages = Stages(network, self._masks(network, task, generator), constant)
        stages.train("explore", explored, GradientGrowth(), self._moves())
        for number, epochs in enumerate(refined, 1):
            rate = partial(refining, peak)
            trained = stages.train(f"refine-{number}", epochs, GradientGrowth(), self._moves(number), rate)
            yield Ticket.of(trained, stages.masks)

    def _moves(self, number: int = 0) -> Moves:
        """Of a whole run or the exploration (0), or of a refinement (1, 2, ...)."""
        first = self.escape if number > 1 else 0.0
        return Moves(self.interval, self.drop_fraction, falls=False, first=first, fresh=True)

    def _parts(self, task: Task) -> list[tuple[Moves, int]]:
        """Moves and steps of each stage of a run."""
        steps = task.steps()
        if self.kind == "dst":
            return [(self._moves(), steps)]
        lengths = self.epochs(task.schedule.epochs)
        return [(self._moves(n), length * steps // task.schedule.epochs) for n, length in enumerate(lengths)]

    def epochs(self, total: int) -> tuple[int, ...]:
        """Epochs of the exploration and of each refinement, `total` in all; the last ones have those left over.

        InputError where a stage would have none.
        """
        refined = min(total - 1, round(total * (1 - self.exploration)))
        lengths = [(refined * (k + 1)) // self.tickets - (refined * k) // self.tickets for k in range(self.tickets)]
        if total <= refined or min(lengths) < 1:
            raise InputError(
                f"free_tickets: one exploration and {self.tickets} refinements need an epoch each, the schedule has "
                f"{total} epochs, of which {refined} refine: raise the schedule's `epochs`, or lower `tickets`"
            )
        return (total - refined, *lengths)

    def _masks(self, network: nn.Module, task: Task, generator: torch.Generator) -> Masks:
        return random_masks(network, self.density, self.distribution, generator, task.images.shape[-1])


def refining(peak: float, progress: float) -> float:
    """Learning rate after `progress` (0 to 1) of a refinement: a tenth of the peak, then a hundredth."""
    return peak * (0.1 if progress < 0.5 else 0.01)
