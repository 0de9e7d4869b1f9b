"""SET: drop small weights, grow random ones (Mocanu et al., Nature Communications 2018).

What differs from the paper: a weight drops by its magnitude, as in RigL's comparison, where the paper takes the same
share of the positive and of the negative weights; a run's last update grows as all others do, where the paper ends with
a removal, so that the density is exact; grown weights start at zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from cards_deck.training.loop import epoch_steps
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.allocation import check_distribution, random_masks
from cards_deck.training.tickets.dynamic import Moves, RandomGrowth, check_moves, check_updates, train_dynamic
from cards_deck.training.tickets.pruning import check_density
from cards_deck.training.tickets.ticket import Ticket


@METHODS.register("set")
@dataclass(frozen=True)
class SET:
    """Drop small weights, grow random ones, all through training (Mocanu et al., Nature Communications 2018).

    Attributes:
        density: fraction of convolution and linear weights kept, exact to one weight, at every step [chosen here].
        distribution: `erk`, `uniform` or `flops` over the layers [RigL's form for convolutions of the paper's
            Erdos-Renyi graphs].
        interval: steps between mask updates; none: once an epoch [paper, algorithm 1].
        drop_fraction: share zeta of a layer's weights replaced at every update [paper].
        end: share of the steps after which the mask stays fixed [paper: never].
    """

    density: float = 0.1
    distribution: str = "erk"
    interval: int | None = None
    drop_fraction: float = 0.3
    end: float = 1.0

    def __post_init__(self) -> None:
        check_density("set", self.density)
        check_distribution("set", self.distribution)
        check_moves("set", 1 if self.interval is None else self.interval, self.drop_fraction, self.end)

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train once with moving masks; one ticket."""
        interval = self.interval or epoch_steps(len(task.images), task.schedule)
        masks = random_masks(network, self.density, self.distribution, generator, task.images.shape[-1])
        moves = Moves(interval, self.drop_fraction, self.end, falls=False)
        check_updates("set", self.density, [(moves, task.steps())])
        return (train_dynamic(network, masks, task, RandomGrowth(generator), moves),)
