"""Sup-tickets: cheap tickets along a cyclic schedule, superposed into one of the same density (Yin et al., UAI 2022).

Most of the epochs are dynamic sparse training by the schedule. Then come `tickets` short cycles: each moves `escape` of
the weights at once and, its mask fixed, lets the learning rate rise from `low` to `high` and fall again. The network at
the end of a cycle is a cheap ticket and is superposed at once, while training goes on from the network itself:

    superposed = (1 - w) * superposed + w * ticket,    w = 1 / (k + 1) in cycle k, or `share_of_new`

starting from the network before the first cycle, which so counts as a ticket. The union of two masks is too dense; the
smallest weights over all layers are pruned until the density holds again. Batch-norm is averaged too, and its
statistics are computed anew from the training images at the end: an average of statistics is not that of the averaged
weights.

Where the published code has a learning rate from 0.001 to 0.005 after a peak of 0.1, the rates here scale with the
schedule's peak. Momentum goes on from cycle to cycle, as there. An update of the masks takes the place of the
optimizer's step, as in RigL; the published code shares its masks' core with FreeTickets, where the step comes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.forward import to_float
from cards_deck.training.loop import epoch_rows
from cards_deck.training.networks import memory_format
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.allocation import check_distribution, random_masks
from cards_deck.training.tickets.dynamic import GradientGrowth, Growth, Moves, RandomGrowth, check_moves, check_updates
from cards_deck.training.tickets.pruning import check_density, prune_smallest
from cards_deck.training.tickets.stages import Stages
from cards_deck.training.tickets.ticket import Masks, Ticket

State = Mapping[str, Tensor]


@METHODS.register("sup_tickets")
@dataclass(frozen=True)
class SupTickets:
    """Superpose cheap tickets of one cyclic run into one, at the density of each (Yin et al., UAI 2022).

    Attributes:
        density: fraction of convolution and linear weights kept, exact to one weight [chosen here].
        growth: where weights grow: `gradient` as in RigL, or `random` as in SET [paper: both, and others].
        distribution: `erk`, `uniform` or `flops` over the layers, before the first superposition [paper].
        interval: steps between mask updates before the cycles [published code].
        drop_fraction: share of a layer's weights replaced at every update [published code].
        tickets: number of cycles [published code].
        share: share of the epochs that the cycles have together [published code: 24 of 250].
        escape: share of a layer's weights replaced at the start of a cycle [published code].
        low: learning rate at both ends of a cycle, in units of the schedule's peak [published code].
        high: learning rate in the middle of a cycle, in the same units [published code].
        average: `equal`, so that all tickets count the same, or `moving`, where the new one has `share_of_new`
            [paper: both].
        share_of_new: see `average` [published code].
    """

    density: float = 0.1
    growth: Literal["gradient", "random"] = "gradient"
    distribution: str = "erk"
    interval: int = 1000
    drop_fraction: float = 0.5
    tickets: int = 3
    share: float = 0.1
    escape: float = 0.5
    low: float = 0.01
    high: float = 0.05
    average: Literal["equal", "moving"] = "equal"
    share_of_new: float = 0.5

    def __post_init__(self) -> None:
        check_density("sup_tickets", self.density)
        check_distribution("sup_tickets", self.distribution)
        check_moves("sup_tickets", self.interval, self.drop_fraction)
        if self.growth not in ("gradient", "random") or self.average not in ("equal", "moving") or self.tickets < 1:
            raise InputError(
                "sup_tickets: `growth` must be gradient or random, `average` equal or moving and `tickets` 1 or more, "
                f"got {self.growth!r}, {self.average!r}, {self.tickets}"
            )
        if not (0 < self.share < 1 and 0 <= self.escape < 1 and 0 < self.share_of_new <= 1):
            raise InputError(
                "sup_tickets: `share` must lie in (0, 1), `escape` in [0, 1) and `share_of_new` in (0, 1], got "
                f"{self.share}, {self.escape}, {self.share_of_new}"
            )
        if not 0 < self.low <= self.high:
            raise InputError(f"sup_tickets: must have 0 < `low` <= `high`, got {self.low}, {self.high}")

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train once, averaging on the way; one ticket."""
        steps = task.steps()
        first, length = self.epochs(task.schedule.epochs)
        moves = Moves(self.interval, self.drop_fraction, falls=False)
        cyclic = Moves(self.interval, 0.0, end=0.0, first=self.escape)
        epoch = steps // task.schedule.epochs
        parts = [(moves, first * epoch), *[(cyclic, length * epoch)] * self.tickets]
        check_updates("sup_tickets", self.density, parts)
        masks = random_masks(network, self.density, self.distribution, generator, task.images.shape[-1])
        kept = sum(int(mask.sum()) for mask in masks.values())
        stages = Stages(network, masks, task)
        trained = stages.train("before", first, self._growth(generator), moves)
        superposed, masks = masked_state(trained, stages.masks), stages.masks
        rate = partial(triangle, self.low * task.schedule.learning_rate, self.high * task.schedule.learning_rate)
        for cycle in range(1, self.tickets + 1):
            trained = stages.train(f"cycle-{cycle}", length, self._growth(generator), cyclic, rate)
            share = 1 / (cycle + 1) if self.average == "equal" else self.share_of_new
            new = masked_state(trained, stages.masks)
            superposed, masks = superpose(superposed, masks, new, stages.masks, share, kept)
        network.load_state_dict(superposed)
        recompute_batch_norm(network, task, int(torch.randint(2**40, (), generator=generator)))
        return (Ticket.of(network, masks),)

    def epochs(self, total: int) -> tuple[int, int]:
        """Epochs before the cycles, and of each cycle; InputError where that leaves none before them."""
        length = max(1, round(self.share * total / self.tickets))
        if total <= length * self.tickets:
            raise InputError(
                f"sup_tickets: {self.tickets} cycles of {length} epochs leave none of the schedule's {total} epochs "
                "before them: raise the schedule's `epochs`, or lower `tickets` or `share`"
            )
        return total - length * self.tickets, length

    def _growth(self, generator: torch.Generator) -> Growth:
        return GradientGrowth() if self.growth == "gradient" else RandomGrowth(generator)


def triangle(low: float, high: float, progress: float) -> float:
    """Learning rate after `progress` (0 to 1) of a cycle: `low` at both ends, `high` in the middle."""
    return low + (high - low) * (1 - abs(2 * progress - 1))


def masked_state(network: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of the network's state with the masks applied: a moving average keeps traces of weights that dropped."""
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return {**state, **{name: torch.where(mask, state[name], 0.0) for name, mask in masks.items()}}


def superpose(
    state: State, masks: Mapping[str, Tensor], new: State, new_masks: Mapping[str, Tensor], share: float, kept: int
) -> tuple[dict[str, Tensor], Masks]:
    """(1 - share) * state + share * new, pruned to its `kept` largest weights over all layers: (state, masks).

    A weight that only one of the two keeps counts as zero in the other. Integers are those of `new`.
    """
    mixed = {
        name: torch.lerp(old, new[name], share) if old.is_floating_point() else new[name] for name, old in state.items()
    }
    union = {name: mask | new_masks[name] for name, mask in masks.items()}
    chosen = prune_smallest({name: mixed[name] for name in union}, union, kept)
    return {**mixed, **{name: torch.where(mask, mixed[name], 0.0) for name, mask in chosen.items()}}, chosen


@torch.no_grad()
def recompute_batch_norm(network: nn.Module, task: Task, seed: int) -> None:
    """Set batch-norm's statistics to their mean over one pass of the augmented training images, in place."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # each batch counts the same
    generator = torch.Generator(task.images.device).manual_seed(seed)
    layout = memory_format(network)
    network.train()
    for rows in epoch_rows(len(task.images), task.schedule.batch_size, generator):
        images = task.augmentation(task.images[rows], generator)
        network(to_float(images, task.images.shape[-1], layout))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
