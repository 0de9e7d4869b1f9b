"""What edge-popup and biprop share: weights that stay as drawn, and scores in their place in training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.networks import prunable_weights
from cards_deck.training.task import Task
from cards_deck.training.tickets.allocation import layer_counts
from cards_deck.training.tickets.pruning import check_density
from cards_deck.training.tickets.selection import largest
from cards_deck.training.tickets.ticket import Masks, Ticket, exact_count


class Settings(Protocol):
    """What `edge_popup` and `biprop` have in common."""

    @property
    def density(self) -> float: ...
    @property
    def threshold(self) -> str: ...
    @property
    def ramp(self) -> float: ...
    @property
    def initial(self) -> str: ...
    @property
    def affine(self) -> bool: ...


def check_scored(method: str, settings: Settings) -> None:
    """InputError for settings that no run can follow."""
    check_density(method, settings.density)
    if settings.threshold not in ("layer", "global") or settings.initial not in ("constant", "normal"):
        raise InputError(
            f"{method}: `threshold` must be layer or global and `initial` constant or normal, got "
            f"{settings.threshold!r}, {settings.initial!r}"
        )
    if not 0 <= settings.ramp < 1:
        raise InputError(f"{method}: `ramp` is a share of the steps and must lie in [0, 1), got {settings.ramp}")


class Effective:
    """What the network computes with: the frozen weights where they are kept."""

    def of(self, weight: Tensor, mask: Tensor) -> Tensor:
        """Zero outside the mask."""
        return weight * mask

    def finish(self, ticket: Ticket) -> Ticket:
        """The ticket of frozen weights as the network computed with it."""
        return ticket


def train_scores(
    method: str, settings: Settings, network: nn.Module, task: Task, generator: torch.Generator, effective: Effective
) -> Ticket:
    """Draw weights and scores from `generator`, train the scores, and return the ticket of what they keep."""
    if task.schedule.ema:
        raise InputError(f"{method}: an average of masks is no mask: set the schedule's `ema` to 0")
    task.steps()
    choice = Choice(network, settings.density, settings.threshold, settings.ramp)
    draw_weights(network, settings, generator)
    hook = KeepScored(network, draw_scores(network, generator), choice, effective, affine=settings.affine)
    trained = task.train(network, hooks=lambda optimizer: [hook])
    with torch.no_grad():
        for name, weight in hook.weights.items():
            weight.copy_(hook.frozen[name])
    return effective.finish(Ticket.of(trained, {name: mask.contiguous() for name, mask in hook.masks.items()}))


class Choice:
    """Which weights are kept at the present scores, after a share of the training."""

    def __init__(self, network: nn.Module, density: float, threshold: str, ramp: float) -> None:
        shapes = {name: tuple(weight.shape) for name, weight in prunable_weights(network).items()}
        self.density, self.ramp = density, ramp
        self.total = sum(math.prod(shape) for shape in shapes.values())
        self.counts = layer_counts(shapes, density, "uniform")  # refuses what gives a layer no weight
        self.by_layer = threshold == "layer"

    def density_at(self, progress: float) -> float:
        """The density after `progress` (0 to 1) of the training: the final one at the end of the ramp."""
        if self.by_layer or progress >= self.ramp:
            return self.density
        return self.density + (max(0.5, self.density) - self.density) * (1 - progress / self.ramp) ** 3

    def masks(self, scores: Mapping[str, Tensor], progress: float) -> Masks:
        """Masks of the largest |score|, in the scores' memory layout; of equal ones the first in memory wins."""
        sizes = {name: in_memory(score).abs() for name, score in scores.items()}
        if self.by_layer:
            chosen = [largest(size, self.counts[name]) for name, size in sizes.items()]
        else:
            for size in sizes.values():
                size[size.argmax()] = torch.inf  # every layer keeps its best
            kept = exact_count(self.total, self.density_at(progress))
            chosen = list(largest(torch.cat(list(sizes.values())), kept).split([len(size) for size in sizes.values()]))
        masks = {name: torch.empty_like(score, dtype=torch.bool) for name, score in scores.items()}
        for mask, part in zip(masks.values(), chosen, strict=True):
            in_memory(mask).copy_(part)
        return masks


def in_memory(tensor: Tensor) -> Tensor:
    """A dense tensor as a row of values in the order of its memory: no copy, whatever the layout."""
    return tensor.as_strided((tensor.numel(),), (1,))


@torch.no_grad()
def draw_weights(network: nn.Module, settings: Settings, generator: torch.Generator) -> None:
    """Draw the weights that are to stay: normal with the variance 2 / (fan in * density), or a sign times its root."""
    for weight in prunable_weights(network).values():
        drawn = torch.randn(weight.shape, generator=generator)
        if settings.initial == "constant":
            drawn = torch.where(drawn < 0, -1.0, 1.0)
        weight.copy_(drawn * math.sqrt(2 / (weight[0].numel() * settings.density)))
    if not settings.affine:
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                module.bias.zero_()


def draw_scores(network: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """Scores U(-b, b), b = 1 / sqrt(fan in), in each weight's memory layout."""
    scores = {}
    for name, weight in prunable_weights(network).items():
        drawn = (2 * torch.rand(weight.shape, generator=generator) - 1) / math.sqrt(weight[0].numel())
        scores[name] = torch.empty_like(weight, requires_grad=False).copy_(drawn)
    return scores


class KeepScored:
    """Have the optimizer move scores in place of weights; between any two steps the network holds masked weights."""

    def __init__(
        self, network: nn.Module, scores: dict[str, Tensor], choice: Choice, effective: Effective, *, affine: bool
    ) -> None:
        self.weights = prunable_weights(network)
        self.frozen = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.scores, self.choice, self.effective = scores, choice, effective
        mine = {id(weight) for weight in self.weights.values()}
        self.others = [] if affine else [p for p in network.parameters() if id(p) not in mine]
        self.progress = 0.0
        self.masks: Masks = {}
        self._choose()

    @torch.no_grad()
    def on_gradients(self, step: int, steps: int) -> bool:
        """Turn the gradients of masked weights into those of scores, and put the scores in place to be moved."""
        self.progress = (step + 1) / steps
        for parameter in self.others:
            parameter.grad = None
        for name, weight in self.weights.items():
            assert weight.grad is not None
            weight.grad.mul_(self.frozen[name]).mul_(self.scores[name].sign())
            weight.copy_(self.scores[name])
        return False

    @torch.no_grad()
    def after_step(self) -> None:
        """Take the moved scores, and compute with the weights that they keep."""
        for name, weight in self.weights.items():
            self.scores[name].copy_(weight)
        self._choose()

    def state_dict(self) -> dict[str, Any]:
        """The scores; weights are drawn again from the seed."""
        return {"scores": self.scores, "progress": self.progress}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the scores and the masks that follow from them."""
        self.progress = state["progress"]
        for name, score in state["scores"].items():
            self.scores[name].copy_(score)
        self._choose()

    @torch.no_grad()
    def _choose(self) -> None:
        self.masks = self.choice.masks(self.scores, self.progress)
        for name, weight in self.weights.items():
            weight.copy_(self.effective.of(self.frozen[name], self.masks[name]))
