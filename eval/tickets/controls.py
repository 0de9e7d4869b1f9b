"""Arms that no paper proposes, but that claims are compared with. They train as ticket methods do, but make no cards.

Registered apart from the ticket methods, so that the command line does not offer them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from cards_deck.errors import InputError
from cards_deck.registry import Registry
from cards_deck.training.networks import draw_anew, prunable_weights
from cards_deck.training.rewinding import RewindPoint
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS, TicketMethod
from cards_deck.training.tickets.allocation import random_masks
from cards_deck.training.tickets.fine_tune import FineTune
from cards_deck.training.tickets.pruning import (
    check_density,
    check_masks,
    level_counts,
    prune_smallest,
    shuffled,
    train_masked,
)
from cards_deck.training.tickets.ticket import Masks, Ticket, full_masks

if TYPE_CHECKING:
    import torch
    from torch import nn

CONTROLS: Registry[TicketMethod] = Registry("control")


@CONTROLS.register("same_mask")
@dataclass(frozen=True)
class SameMask:
    """Train inside the mask of a given ticket (Frankle and Carbin, ICLR 2019, sections 2 and 4).

    Attributes:
        start: `initial`: the weights that the network was drawn with; `random`: drawn again.
        places: `kept`: the ticket's; `shuffled`: others in each layer, as many.
    """

    start: Literal["initial", "random"] = "initial"
    places: Literal["kept", "shuffled"] = "kept"

    takes_card: ClassVar[bool] = True

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train once; one ticket."""
        masks = given_masks("same_mask", network, task)
        if self.places == "shuffled":
            masks = shuffled(masks, generator)
        if self.start == "random":
            draw_anew(network, generator)
        return (Ticket.of(network, train_masked(network, masks, task, "train")),)


@CONTROLS.register("levels")
@dataclass(frozen=True)
class Levels:
    """Iterative magnitude pruning of which every level is a ticket, the dense one first.

    Attributes:
        density: of the last level.
        rate: share of the surviving weights pruned after each level.
        rewind: the step whose weights the survivors go back to; None: they stay, as in learning-rate rewinding.
    """

    density: float = 0.05
    rate: float = 0.2
    rewind: int | None = 0

    def __post_init__(self) -> None:
        check_density("levels", self.density)

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train once per level; as many tickets."""
        point = None if self.rewind is None else RewindPoint(self.rewind)
        masks, tickets = full_masks(network), []
        counts = level_counts(sum(mask.numel() for mask in masks.values()), self.density, self.rate)
        for level, kept in enumerate(counts):
            if level:
                masks = prune_smallest(prunable_weights(network), masks, kept)
            options = {} if point is None else {"start": point} if level else {"keep": point}
            masks = train_masked(network, masks, task, f"level-{level:02d}", **options)
            tickets.append(replace(Ticket.of(network, masks), number=level + 1))
        return tuple(tickets)


@CONTROLS.register("apart")
@dataclass(frozen=True)
class Apart:
    """Two copies trained from one point under different orders of the data (Frankle et al., ICML 2020, section 2).

    Attributes:
        epochs: trained together before they part; 0: they part at initialisation.
    """

    epochs: int = 0

    takes_card: ClassVar[bool] = True

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train together, then twice apart, inside the mask of a given ticket or dense; two tickets of one mask."""
        if not 0 <= self.epochs < task.schedule.epochs:
            raise InputError(f"apart: `epochs` must be fewer than the schedule's, got {self.epochs}")
        masks = full_masks(network) if task.given is None else given_masks("apart", network, task)
        point = RewindPoint(self.epochs * (task.steps() // task.schedule.epochs))
        if self.epochs:  # dense, as the ticket's own weights of that step were
            train_masked(copy.deepcopy(network), full_masks(network), task, "together", keep=point)
        else:
            point.take(network)
        tickets = []
        for number in (1, 2):
            own = replace(task, seed=task.seed + 7919 * number)
            trained = train_masked(network, masks, own, f"apart-{number}", start=point)
            tickets.append(replace(Ticket.of(network, trained), number=number))
        return tuple(tickets)


@CONTROLS.register("random_after")
@dataclass(frozen=True)
class RandomAfter(FineTune):
    """Train dense, prune random weights of each layer, fine-tune: ShrinkBench's control (Blalock et al., MLSys 2020).

    Attributes: as those of `fine_tune`.
    """

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train twice; one ticket."""
        train_masked(network, full_masks(network), task, "dense")
        masks = random_masks(network, self.density, "uniform", generator, task.images.shape[-1])
        masks = train_masked(network, masks, task, "fine-tune", schedule=self.tuning(task.schedule))
        return (Ticket.of(network, masks),)


def given_masks(name: str, network: nn.Module, task: Task) -> Masks:
    """The masks of the given ticket; InputError where there is none or it is of another network."""
    if task.given is None:
        raise InputError(f"{name} needs a given ticket")
    check_masks(network, task.given.masks)
    return dict(task.given.masks)


def method_named(described: dict[str, object]) -> TicketMethod:
    """The ticket method or control that a cell describes."""
    registry = CONTROLS if described.get("name") in CONTROLS else METHODS
    return registry.restore(described)
