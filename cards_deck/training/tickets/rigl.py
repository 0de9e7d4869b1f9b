"""RigL: drop small weights, grow where the dense gradient is large, from scratch (Evci et al., ICML 2020).

What differs from the paper or its code, and why:

- `uniform` makes the first layer sparse too, where the paper keeps it dense: `density` counts every layer.
- Ties in magnitude go to the lower index; the code adds noise of 1e-5, which gives another mask each time.
- The drop fraction falls as a cosine, as in the paper; the published code's default is a constant.
- A weight that the same update drops and grows again loses its momentum, which the code leaves it.
- `distribution=flops` is of this project; see `allocation`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.allocation import check_distribution, random_masks
from cards_deck.training.tickets.dynamic import GradientGrowth, Moves, check_moves, check_updates, train_dynamic
from cards_deck.training.tickets.pruning import check_density
from cards_deck.training.tickets.ticket import Ticket


@METHODS.register("rigl")
@dataclass(frozen=True)
class RigL:
    """Drop small weights, grow where the dense gradient is large, from scratch (Evci et al., ICML 2020).

    Attributes:
        density: fraction of convolution and linear weights kept, exact to one weight, at every step [chosen here].
        distribution: `erk`, `uniform` or, for speed, `flops` over the layers [paper, section 3: ERK is best].
        interval: steps between mask updates [paper, section 4].
        drop_fraction: share alpha of a layer's weights replaced at the first update [paper, section 4].
        end: share of the steps after which the mask stays fixed [paper, section 4].
    """

    density: float = 0.1
    distribution: str = "erk"
    interval: int = 100
    drop_fraction: float = 0.3
    end: float = 0.75

    def __post_init__(self) -> None:
        check_density("rigl", self.density)
        check_distribution("rigl", self.distribution)
        check_moves("rigl", self.interval, self.drop_fraction, self.end)

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train once with moving masks; one ticket."""
        steps = task.steps()
        masks = random_masks(network, self.density, self.distribution, generator, task.images.shape[-1])
        moves = Moves(self.interval, self.drop_fraction, self.end)
        check_updates("rigl", self.density, [(moves, steps)])
        return (train_dynamic(network, masks, task, GradientGrowth(), moves),)
