"""Learning-rate rewinding (Renda et al., ICLR 2020), the LRR of the CARDs study: prune, keep the weights, train again.

Level by level: train the full schedule; prune a fifth of the surviving weights, smallest magnitude first over all
layers together; keep weights and batch-norm; start the schedule and the optimizer afresh. Each level has an order of
the data and a stream of the augmentation of its own.

Unverified: the schedule of the CARDs study, taken to be the default of the authors' library (open_lth: 160 epochs, a
tenth of the rate at 80 and 120). A level here has the schedule that the recipe gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from cards_deck.errors import InputError
from cards_deck.training.networks import prunable_weights
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.pruning import check_density, level_counts, prune_smallest, train_masked
from cards_deck.training.tickets.stages import stage_task
from cards_deck.training.tickets.ticket import Ticket, full_masks

__all__ = ["LearningRateRewinding", "level_counts", "prune_smallest"]


@METHODS.register("lr_rewinding")
@dataclass(frozen=True)
class LearningRateRewinding:
    """Prune a fifth, keep the weights, train the whole schedule again, level by level (Renda et al., ICLR 2020).

    Attributes:
        density: fraction of convolution and linear weights kept at the end, exact to one weight; the last level
            prunes less than `rate` where the levels would overshoot [chosen here].
        rate: share of the surviving weights pruned after each level [paper].
    """

    density: float = 0.1
    rate: float = 0.2

    def __post_init__(self) -> None:
        check_density("lr_rewinding", self.density)
        if not 0 < self.rate < 1:
            raise InputError(f"lr_rewinding: `rate` must lie in (0, 1), got {self.rate}")

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train len(levels) + 1 times; one ticket."""
        task.steps()
        masks = full_masks(network)
        total = sum(mask.numel() for mask in masks.values())
        for level, kept in enumerate(level_counts(total, self.density, self.rate)):
            if level:
                masks = prune_smallest(prunable_weights(network), masks, kept)
            masks = train_masked(network, masks, stage_task(task, level), f"level-{level:02d}")
        return (Ticket.of(network, masks),)
