"""The lottery ticket hypothesis: iterative magnitude pruning with rewinding.

Level by level: train; prune a fifth of the surviving weights, smallest magnitude first over all layers together; put
the survivors and batch-norm, its statistics included, back to what they were after k steps, and train from there with
the learning rate, the order of the data and the augmentation of step k and a fresh optimizer. k = 0 is the method of
Frankle & Carbin (ICLR 2019), which on deep networks at usual learning rates needs k > 0 (Frankle et al., ICML 2020:
k of about 2,000 of 62,000 steps for a ResNet-20, 1,000 for a VGG-16).

The first paper prunes each layer of its fully connected networks by the same share, the output layer by half of it, and
its deep ones globally; here pruning is global, as in the authors' later code (open_lth). That code prunes one weight
more than its share, this one none: the counts are exact. (Unverified, as remembered: those numbers of steps, and how
the first paper treats its deep networks.)

Not taken over: the widely copied port that freezes weights below a threshold without taking their magnitude, and so
every negative one. Here the stored mask alone decides which weights train.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from cards_deck.errors import InputError
from cards_deck.training.networks import draw_anew, prunable_weights
from cards_deck.training.rewinding import RewindPoint
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.pruning import check_density, level_counts, prune_smallest, train_masked
from cards_deck.training.tickets.ticket import Ticket, full_masks


@METHODS.register("lottery")
@dataclass(frozen=True)
class Lottery:
    """Prune a fifth, rewind the rest to step k, train again, level by level (Frankle et al., ICML 2020).

    Attributes:
        density: fraction of convolution and linear weights kept at the end, exact to one weight; the last level
            prunes less than `rate` where the levels would overshoot [chosen here].
        rate: share of the surviving weights pruned after each level [paper].
        rewind: the step k whose weights the survivors go back to; 0 is the original hypothesis
            [He et al., ICML 2022, published code].
        reinitialise: control: the last level starts from other random weights and step 0, the mask stays
            [Frankle and Carbin, ICLR 2019].
    """

    density: float = 0.1
    rate: float = 0.2
    rewind: int = 1000
    reinitialise: bool = False

    def __post_init__(self) -> None:
        check_density("lottery", self.density)
        if not 0 < self.rate < 1 or self.rewind < 0:
            raise InputError(
                "lottery: `rate` must lie in (0, 1) and `rewind` be a step of 0 or more, got "
                f"{self.rate} and {self.rewind}"
            )

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train len(levels) + 1 times; one ticket."""
        steps = task.steps()
        if self.rewind >= steps:
            raise InputError(
                f"lottery: `rewind` must be one of the {steps} steps of the schedule, got {self.rewind}: lower it "
                "(--method.rewind) or train longer"
            )
        point, masks = RewindPoint(self.rewind), full_masks(network)
        levels = level_counts(sum(mask.numel() for mask in masks.values()), self.density, self.rate)
        masks = train_masked(network, masks, task, "level-00", keep=point)
        for level, kept in enumerate(levels[1:], start=1):
            masks = prune_smallest(prunable_weights(network), masks, kept)
            start: RewindPoint | None = point
            if self.reinitialise and kept == levels[-1]:
                draw_anew(network, generator)
                start = None
            masks = train_masked(network, masks, task, f"level-{level:02d}", start=start)
        return (Ticket.of(network, masks),)
