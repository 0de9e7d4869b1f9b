"""Dynamic sparse training in stages: a schedule's epochs in parts, with masks and momentum going on."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from cards_deck.training.loop import Rate
from cards_deck.training.schedule import Schedule
from cards_deck.training.task import Task
from cards_deck.training.tickets.dynamic import DropAndGrow, Growth, Moves
from cards_deck.training.tickets.ticket import Masks


class Stages:
    """Train `network` stage by stage; a stage takes over the network, the masks and the momentum of the one before.

    Each stage has an order of the data and a stream of the augmentation of its own.
    """

    def __init__(self, network: nn.Module, masks: Masks, task: Task) -> None:
        self.network, self.masks, self.task = network, masks, task
        self.optimizer: torch.optim.SGD | None = None
        self.number, self.first = 0, 0  # of the next stage, and of its first epoch

    def train(self, name: str, epochs: int, growth: Growth, moves: Moves, rate: Rate | None = None) -> nn.Module:
        """Train the next `epochs` epochs of the task's schedule, at `rate` if given; returns the network to keep."""
        hooks: list[DropAndGrow] = []

        def make(optimizer: torch.optim.SGD) -> list[DropAndGrow]:
            if self.optimizer is not None:
                for parameter, state in self.optimizer.state.items():
                    optimizer.state[parameter].update(state)
            hooks[:] = [DropAndGrow(self.network, self.masks, optimizer, growth, moves)]
            return hooks

        task = stage_task(self.task, self.number)
        schedule = part(task.schedule, self.first, epochs)
        trained = task.train(self.network, hooks=make, stage=name, schedule=schedule, rate=rate)
        self.masks, self.optimizer = hooks[0].masks, hooks[0].optimizer
        self.number, self.first = self.number + 1, self.first + epochs
        return trained


def stage_task(task: Task, number: int) -> Task:
    """`task` with an order of the data and a stream of the augmentation of the stage's own; stage 0 has the task's."""
    return replace(task, seed=task.seed + 7919 * number)


def part(schedule: Schedule, first: int, epochs: int) -> Schedule:
    """`epochs` epochs of `schedule` from the epoch `first`, each on images of the size that it has there.

    The learning rate starts at its peak and decays anew; only the first part has the warm-up, as many steps of it.
    """
    ends = [(round(share * schedule.epochs) - first, side) for share, side in schedule.sizes]
    sizes = tuple((min(end, epochs) / epochs, side) for end, side in ends if end > 0)
    warmup = 0.0 if first else min(schedule.warmup * schedule.epochs / epochs, 0.99)
    return replace(schedule, epochs=epochs, warmup=warmup, sizes=sizes)
