"""DST-EE: RigL that also grows where it has seldom been (Huang et al., DAC 2023; arXiv 2211.16667).

No code was published. From the abstract: important weights are exploited, coverage is explored, and an acquisition
function joins the two. Uncertain are the function's exact form, its constants and when counters count; taken here is
the form of upper confidence bounds,

    score = |gradient| / (its mean in the layer)  +  exploration * ln(t) / (N + epsilon),

where t is the step and N the number of the mask's periods so far in which the weight was kept. As remembered, the paper
does not divide the gradient; without that, one constant means something else in every layer and on every data set.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.allocation import check_distribution, random_masks
from cards_deck.training.tickets.dynamic import Moves, check_moves, check_updates, train_dynamic
from cards_deck.training.tickets.pruning import check_density
from cards_deck.training.tickets.ticket import Masks, Ticket


@METHODS.register("dst_ee")
@dataclass(frozen=True)
class DSTEE:
    """Grow where the gradient is large or where it has seldom grown before (Huang et al., DAC 2023).

    Attributes:
        density: fraction of convolution and linear weights kept, exact to one weight, at every step [chosen here].
        distribution: `erk`, `uniform` or `flops` over the layers [chosen here].
        interval: steps between mask updates [RigL].
        drop_fraction: share of a layer's weights replaced at the first update [RigL].
        end: share of the steps after which the mask stays fixed [RigL].
        exploration: weight c of the bonus for seldom kept weights; 0 is RigL [chosen here].
        epsilon: added to the number of periods; a weight never kept gets c ln(t) / epsilon [chosen here].
    """

    density: float = 0.1
    distribution: str = "erk"
    interval: int = 100
    drop_fraction: float = 0.3
    end: float = 0.75
    exploration: float = 0.1
    epsilon: float = 1.0

    def __post_init__(self) -> None:
        check_density("dst_ee", self.density)
        check_distribution("dst_ee", self.distribution)
        check_moves("dst_ee", self.interval, self.drop_fraction, self.end)
        if self.exploration < 0 or self.epsilon <= 0:
            raise InputError(
                "dst_ee: `exploration` must be 0 or more and `epsilon` positive, got "
                f"{self.exploration}, {self.epsilon}"
            )

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train once with moving masks; one ticket."""
        steps = task.steps()
        masks = random_masks(network, self.density, self.distribution, generator, task.images.shape[-1])
        growth = AcquisitionGrowth(masks, self.exploration, self.epsilon)
        moves = Moves(self.interval, self.drop_fraction, self.end)
        check_updates("dst_ee", self.density, [(moves, steps)])
        return (train_dynamic(network, masks, task, growth, moves),)


class AcquisitionGrowth:
    """Where gradient and bonus together are largest; counts, for each weight, the periods in which it was kept."""

    def __init__(self, masks: Masks, exploration: float, epsilon: float) -> None:
        self.exploration, self.epsilon = exploration, epsilon
        self.periods = {name: mask.to(torch.int32) for name, mask in masks.items()}

    def scores(self, name: str, gradient: Tensor, step: int) -> Tensor:
        """The acquisition function; `step` is 1 or more."""
        size = gradient.abs()
        bonus = self.exploration * math.log(step) / (self.periods[name] + self.epsilon)
        return size / size.mean().clamp(min=torch.finfo(size.dtype).tiny) + bonus

    def moved(self, masks: Masks) -> None:
        """A period of these masks begins."""
        for name, mask in masks.items():
            self.periods[name] += mask

    def state_dict(self) -> dict[str, Any]:
        """The counters."""
        return {"periods": self.periods}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the counters."""
        for name, counts in state["periods"].items():
            self.periods[name].copy_(counts)
