"""COLT: tickets on which networks of different classes agree (Hossain et al., IEEE TAI 2025; arXiv 2212.12770).

The classes are split into groups. One network per group, all with the same initial weights, is trained on its classes
alone; each gives up the smallest of its convolution weights; all go back to the initial weights, and only the weights
that every group kept are left. Groups that disagree lose more per round than one network would: hence fewer rounds.
The ticket is at last trained on all classes.

The head differs from group to group (one output per class of the group), so no mask of it could be intersected. As in
the paper linear layers are not pruned: each group has a head of its own, drawn once and rewound with the other weights,
and the ticket gets the network's own, for all classes, whole. `density` counts that head: the convolutions are pruned
further to make up for it, and a density below the head's share of the weights is refused.

Rewound are all weights, batch-norm and its statistics; the published code keeps the statistics, which training
overwrites before anything reads them. It also prunes the epoch that is best on the test set; here it is the last.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.convolutions import convolution_count, convolution_weights, with_whole_linear
from cards_deck.training.tickets.heads import new_head
from cards_deck.training.tickets.pruning import check_density, keep_largest, train_masked
from cards_deck.training.tickets.ticket import Masks, Ticket


@METHODS.register("colt")
@dataclass(frozen=True)
class Colt:
    """Keep the weights that networks of different classes all keep (Hossain et al., IEEE TAI 2025).

    Attributes:
        density: fraction of convolution and linear weights kept, exact to one weight; linear layers are whole, and the
            last round prunes less than `rate` where it would overshoot [chosen here].
        rate: share of the remaining convolution weights that each group prunes in a round [published code].
        groups: number of networks, each for an equal share of the classes in order [published code].
    """

    density: float = 0.1
    rate: float = 0.15
    groups: int = 2

    def __post_init__(self) -> None:
        check_density("colt", self.density)
        if not 0 < self.rate < 1 or self.groups < 2:
            raise InputError(
                f"colt: `rate` must lie in (0, 1) and `groups` be at least 2, got {self.rate}, {self.groups}"
            )

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train `groups` networks a round, then the ticket on all classes; one ticket."""
        target = convolution_count("colt", network, self.density)
        task.steps()
        parts = split_classes(task.labels.unique().tolist(), self.groups)
        tasks = [task.only_classes(part) for part in parts]
        starts = [new_head(network, len(part), generator) for part in parts]
        masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in convolution_weights(network).items()}
        kept = sum(mask.numel() for mask in masks.values())
        rounds = 0
        while kept > target:
            trained = []
            for group, (start, own) in enumerate(zip(starts, tasks, strict=True)):
                part = copy.deepcopy(start)
                train_masked(part, with_whole_linear(part, masks), own, f"round-{rounds:02d}-group-{group}")
                trained.append(convolution_weights(part))
            masks = overlap(trained, masks, min(kept - 1, round(kept * (1 - self.rate))), target)
            kept, rounds = sum(int(mask.sum()) for mask in masks.values()), rounds + 1
        final = train_masked(network, with_whole_linear(network, masks), task, "all-classes")
        return (Ticket.of(network, final),)


def split_classes(classes: Sequence[int], groups: int) -> tuple[tuple[int, ...], ...]:
    """Cut `classes` into `groups` runs of equal length, the first ones longer by one where it does not come out even.

    InputError where a group would have fewer than two classes: a network of one class learns nothing to prune by.
    """
    if len(classes) < 2 * groups:
        raise InputError(
            f"colt: `groups` of at least two classes each need {2 * groups} classes, got data of {len(classes)}: "
            "take data of more classes, fewer groups or another method"
        )
    size, longer = divmod(len(classes), groups)
    ends = [size * (group + 1) + min(group + 1, longer) for group in range(groups)]
    return tuple(tuple(classes[start:end]) for start, end in zip([0, *ends], ends, strict=False))


@torch.no_grad()
def overlap(trained: Sequence[Mapping[str, Tensor]], masks: Mapping[str, Tensor], kept: int, least: int) -> Masks:
    """Return masks of what all of `trained` keep when each keeps its `kept` largest weights within `masks`.

    A weight is in that intersection where its worst rank is below `kept`. If fewer than `least` are, the `least` of
    best worst rank are taken: the intersection for a larger `kept`, to the weight; of equal ranks the lower index.
    """
    worst = torch.stack([ranks(weights, masks) for weights in trained]).amax(0)
    count = max(least, int((worst < kept).sum()))
    parts = worst.neg().split([mask.numel() for mask in masks.values()])
    return keep_largest({name: part.view(masks[name].shape) for name, part in zip(masks, parts, strict=True)}, count)


def ranks(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
    """int64 [n]: place of each weight, 0 = largest magnitude, over all layers of `masks`; pruned ones come last."""
    sizes = torch.cat([torch.where(mask, weights[name].abs(), -1.0).flatten() for name, mask in masks.items()])
    if bool(sizes.isnan().any()):
        raise InputError("weights that are not numbers cannot be ranked: training diverged, lower the learning rate")
    order = sizes.argsort(descending=True, stable=True)
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order), device=order.device)
    return places
