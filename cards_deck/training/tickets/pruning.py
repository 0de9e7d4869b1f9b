"""What the pruning methods share: levels, the choice of the largest scores, training inside masks, and refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.networks import prunable_weights
from cards_deck.training.schedule import Schedule
from cards_deck.training.task import Task
from cards_deck.training.tickets.masked import KeepMasked
from cards_deck.training.tickets.selection import largest
from cards_deck.training.tickets.ticket import Masks, Ticket, exact_count, full_masks


def check_density(method: str, density: float) -> None:
    """InputError unless `density` lies in (0, 1]."""
    if not 0 < density <= 1:
        raise InputError(
            f"{method}: `density` is the fraction of weights kept and must lie in (0, 1], got {density}: give 0.1 to "
            "keep a tenth"
        )


def check_masks(network: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """InputError unless `masks` has a bool mask of the right shape for every convolution and linear weight."""
    weights = prunable_weights(network)
    if odd := sorted(set(weights) ^ set(masks)):
        raise InputError(
            "masks of another network: there must be one for each convolution and linear weight, and "
            f"{odd[0]!r} is only {'in the network' if odd[0] in weights else 'among the masks'}; give a card of this "
            "network"
        )
    for name, mask in masks.items():
        if mask.dtype != torch.bool or mask.shape != weights[name].shape:
            raise InputError(
                f"masks of another network: that of {name!r} must be bool of shape {list(weights[name].shape)}, got "
                f"{mask.dtype} of {list(mask.shape)}; give a card of this network and of as many classes"
            )


def level_counts(total: int, density: float, rate: float) -> list[int]:
    """Return the number of weights kept while each level trains, from `total` down to round(density * total).

    Each level keeps 1 - rate of the last one's weights; the last level prunes less where that would overshoot.
    """
    target = exact_count(total, density)
    counts = [total]
    while counts[-1] > target:
        counts.append(max(target, min(counts[-1] - 1, round(counts[-1] * (1 - rate)))))
    return counts


@torch.no_grad()
def prune_smallest(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], kept: int) -> Masks:
    """Return masks with the `kept` weights of largest magnitude among those that `masks` keep, over all layers."""
    return keep_largest({name: torch.where(masks[name], w.abs(), -1.0) for name, w in weights.items()}, kept)


@torch.no_grad()
def keep_largest(scores: Mapping[str, Tensor], kept: int) -> Masks:
    """Return masks of the `kept` largest scores over all layers; of equal ones the first layer and lower index wins."""
    flat = torch.cat([score.flatten() for score in scores.values()])
    if bool(flat.isnan().any()):
        raise InputError("scores that are not numbers cannot be ranked: training diverged, lower the learning rate")
    parts = largest(flat, kept).split([score.numel() for score in scores.values()])
    return {name: part.view(scores[name].shape) for name, part in zip(scores, parts, strict=True)}


def tuning(schedule: Schedule, epochs: float, rate: float) -> Schedule:
    """A fine-tuning after `schedule`, by shares of its epochs and rate: constant, at full image size."""
    return replace(
        schedule, epochs=max(1, round(epochs * schedule.epochs)), learning_rate=rate * schedule.learning_rate,
        decay="constant", warmup=0.0, sizes=(),
    )  # fmt: skip


def train_masked(network: nn.Module, masks: Masks, task: Task, stage: str, **options: Any) -> Masks:
    """Train `network` inside `masks` with a fresh optimizer; it ends with the weights to keep.

    `options` are those of `Task.train`. Returns the masks, on the weights' device.
    """
    check_masks(network, masks)
    hooks: list[KeepMasked] = []

    def make(optimizer: torch.optim.SGD) -> list[KeepMasked]:
        hooks[:] = [KeepMasked(network, masks)]  # only now: `start` has put other weights into the network
        return hooks

    trained = task.train(network, hooks=make, stage=stage, **options)
    network.load_state_dict(trained.state_dict())
    return hooks[0].masks


class MasksAtStart(Protocol):
    """A method whose masks are known before anything is trained."""

    def masks(self, network: nn.Module, task: Task, generator: torch.Generator) -> Masks:
        """Return the masks; the network stays as it is."""
        ...


def train_from_start(
    method: MasksAtStart, network: nn.Module, task: Task, generator: torch.Generator
) -> tuple[Ticket, ...]:
    """Ask `method` for its masks and train `network` inside them; one ticket."""
    task.steps()
    masks = train_masked(network, method.masks(network, task, generator), task, "train")
    return (Ticket.of(network, masks),)


class PruneOnTheWay(KeepMasked):
    """Prune inside one run of training, whose optimizer goes on with its momentum.

    Args:
        network: on its device; nothing is pruned at first.
        due: given (steps taken, steps in all), the weights to keep from here on, in all or per layer; None: no change.
    """

    def __init__(self, network: nn.Module, due: Callable[[int, int], int | Mapping[str, int] | None]) -> None:
        super().__init__(network, full_masks(network))
        self.due, self.taken, self.steps = due, 0, 0

    def on_gradients(self, step: int, steps: int) -> bool:
        """Mask the gradients and note the step."""
        self.taken, self.steps = step + 1, steps
        return super().on_gradients(step, steps)

    def after_step(self) -> None:
        """Stay inside the masks, and prune where it is time."""
        super().after_step()
        kept = self.due(self.taken, self.steps)
        if kept is not None:
            self.prune(kept)

    def prune(self, kept: int | Mapping[str, int]) -> None:
        """Keep the `kept` largest weights: of all, or of each layer."""
        if isinstance(kept, int):
            masks = prune_smallest(self.weights, self.masks, kept)
        else:
            masks = {
                name: prune_smallest({name: weight}, {name: self.masks[name]}, kept[name])[name]
                for name, weight in self.weights.items()
            }
        for name, mask in masks.items():
            self.masks[name].copy_(mask)
        KeepMasked.after_step(self)


def shuffled(masks: Mapping[str, Tensor], generator: torch.Generator) -> Masks:
    """Return masks with as many weights in each layer, at random places (Frankle et al., ICLR 2021)."""
    mixed = {}
    for name, mask in masks.items():
        order = torch.randperm(mask.numel(), generator=generator).to(mask.device)
        mixed[name] = mask.flatten()[order].view(mask.shape)
    return mixed
