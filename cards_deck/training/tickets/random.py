"""A random mask, then training: what every criterion has to beat.

Which layers keep how much decides most of what a random mask is worth; `erk` is far from the worst choice. For random
places under the layer-wise shares of another method see `shuffle` of `snip`, `grasp` and `synflow`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.allocation import check_distribution, random_masks
from cards_deck.training.tickets.pruning import check_density, train_from_start
from cards_deck.training.tickets.ticket import Masks, Ticket


@METHODS.register("random")
@dataclass(frozen=True)
class Random:
    """Train inside a random mask: the control (Liu et al., ICLR 2022).

    Attributes:
        density: fraction of convolution and linear weights kept, exact to one weight [chosen here].
        distribution: `erk`, `uniform` or, for speed, `flops` over the layers [Evci et al., ICML 2020].
    """

    density: float = 0.1
    distribution: Literal["erk", "flops", "uniform"] = "erk"

    def __post_init__(self) -> None:
        check_density("random", self.density)
        check_distribution("random", self.distribution)

    def masks(self, network: nn.Module, task: Task, generator: torch.Generator) -> Masks:
        """Return the masks; the network stays as it is."""
        return random_masks(network, self.density, self.distribution, generator, task.images.shape[-1])

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train once; one ticket."""
        return train_from_start(self, network, task, generator)
