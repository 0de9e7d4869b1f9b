"""Train dense, prune once by magnitude over all layers, fine-tune slowly: the traditional recipe.

The control "FT" of the CARDs study, which finds it less robust than lottery-ticket-style methods. The shares of epochs
and learning rate are those of Liu et al. (ICLR 2019): 40 epochs at 0.001 after 160 that began at 0.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from cards_deck.errors import InputError
from cards_deck.training.networks import prunable_weights
from cards_deck.training.schedule import Schedule
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.pruning import check_density, prune_smallest, train_masked, tuning
from cards_deck.training.tickets.stages import stage_task
from cards_deck.training.tickets.ticket import Ticket, exact_count, full_masks


@METHODS.register("fine_tune")
@dataclass(frozen=True)
class FineTune:
    """Train dense, prune once by magnitude, fine-tune at a small constant rate (Han et al., NeurIPS 2015).

    Attributes:
        density: fraction of convolution and linear weights kept, exact to one weight [chosen here].
        epochs: of fine-tuning, as a share of the schedule's and on top of them [Liu et al., ICLR 2019: 40 of 160].
        learning_rate: of fine-tuning, constant, as a share of the schedule's [Liu et al., ICLR 2019: 0.001 of 0.1].
    """

    density: float = 0.1
    epochs: float = 0.25
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        check_density("fine_tune", self.density)
        if self.epochs <= 0 or self.learning_rate <= 0:
            raise InputError(
                f"fine_tune: `epochs` and `learning_rate` must be positive, got {self.epochs} and {self.learning_rate}"
            )

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train twice; one ticket."""
        task.steps()
        masks = train_masked(network, full_masks(network), task, "dense")
        kept = exact_count(sum(mask.numel() for mask in masks.values()), self.density)
        masks = prune_smallest(prunable_weights(network), masks, kept)
        masks = train_masked(network, masks, stage_task(task, 1), "fine-tune", schedule=self.tuning(task.schedule))
        return (Ticket.of(network, masks),)

    def tuning(self, schedule: Schedule) -> Schedule:
        """The schedule of the fine-tuning that follows one by `schedule`; see `pruning.tuning`."""
        return tuning(schedule, self.epochs, self.learning_rate)
