"""Structured pruning: whole channels go, so that the network becomes smaller; and its controls, trained from scratch.

Train; rank channels by the weights that go with them (mean of the layers' L2 norms, after the group norm of Fang et
al., "DepGraph", CVPR 2023); cut the least ones out of every layer that makes or reads them; train what is left. Liu et
al. ask whether the inherited weights matter: `scratch_e` draws them anew and trains for the same epochs, `scratch_b`
for as many more as the smaller network costs fewer multiply-adds: the same budget of computation.

Nothing is masked: the ticket carries its own, smaller network, whose every weight is kept. Its density counts them
against the weights of the network it was cut from. Channels come off whole, so that it is as near as one channel
allows; the weights of a batch-norm go with their channels.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import nn

from cards_deck.costs import layer_costs
from cards_deck.errors import InputError
from cards_deck.training.export import export_graph
from cards_deck.training.networks import draw_anew, prunable_weights
from cards_deck.training.schedule import Schedule
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.channels import (
    channel_sets,
    check_reachable,
    choose_channels,
    cut,
    importances,
)
from cards_deck.training.tickets.pruning import check_density, train_masked, tuning
from cards_deck.training.tickets.stages import stage_task
from cards_deck.training.tickets.ticket import Ticket, exact_count, full_masks

RETRAININGS = ("fine_tune", "scratch_e", "scratch_b")


@METHODS.register("structured")
@dataclass(frozen=True)
class Structured:
    """Cut whole channels out, so that the network becomes smaller (Liu et al., ICLR 2019).

    Attributes:
        density: fraction of convolution and linear weights kept, of those of the whole network; exact to one channel
            [chosen here].
        retraining: `fine_tune` keeps the weights; `scratch_e` draws them anew and trains for the schedule's epochs,
            `scratch_b` for the computation that the whole network took [paper].
        epochs: of fine-tuning, as a share of the schedule's [paper, 40 of 160].
        learning_rate: of fine-tuning, constant, as a share of the schedule's [paper, 0.001 of 0.1].
    """

    density: float = 0.3
    retraining: Literal["fine_tune", "scratch_e", "scratch_b"] = "fine_tune"
    epochs: float = 0.25
    learning_rate: float = 0.01

    tolerance: ClassVar[str] = "channel"

    def __post_init__(self) -> None:
        check_density("structured", self.density)
        if self.retraining not in RETRAININGS:
            raise InputError(
                f"structured: `retraining` must be one of {', '.join(RETRAININGS)}, got {self.retraining!r}"
            )
        if self.epochs <= 0 or self.learning_rate <= 0:
            raise InputError(
                f"structured: `epochs` and `learning_rate` must be positive shares of the schedule's, got "
                f"{self.epochs}, {self.learning_rate}"
            )

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train the whole network, cut it, train the small one; one ticket."""
        size = int(task.images.shape[-1])
        total = sum(weight.numel() for weight in prunable_weights(network).values())
        target = exact_count(total, self.density)
        task.steps()
        sets = channel_sets(network, size)
        check_reachable(network, sets, target)
        train_masked(network, full_masks(network), task, "whole")
        small = cut(network, size, sets, choose_channels(network, sets, importances(network, sets), target))
        if self.retraining != "fine_tune":
            draw_anew(small, generator)
        schedule = self.schedule(task.schedule, multiply_adds(network, size) / multiply_adds(small, size))
        masks = train_masked(small, full_masks(small), stage_task(task, 1), self.retraining, schedule=schedule)
        own = copy.deepcopy(small).cpu()
        return (replace(Ticket.of(small, masks), network=own, weights=total),)

    def schedule(self, given: Schedule, saving: float) -> Schedule:
        """How the small network is trained, whose multiply-adds are 1 / `saving` of the whole one's."""
        if self.retraining == "scratch_e":
            return given
        if self.retraining == "scratch_b":
            return replace(given, epochs=round(given.epochs * saving))
        return tuning(given, self.epochs, self.learning_rate)


def multiply_adds(network: nn.Module, image_size: int) -> int:
    """Of one square image of `image_size` pixels."""
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    graph = export_graph(network)
    used = {name: shapes[name] for name in graph.parameter_names}
    return sum(layer.macs for layer in layer_costs(graph, used, image_size))
