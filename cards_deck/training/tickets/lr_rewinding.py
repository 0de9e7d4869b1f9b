"""Learning-rate rewinding (Renda et al., ICLR 2020), the LRR of the CARDs study: prune, keep the weights, train again.

Level by level: train the full schedule; prune a fifth of the surviving weights, smallest magnitude first over all
layers together; keep weights and batch-norm; start the schedule and the optimizer afresh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.networks import prunable_weights
from cards_deck.training.task import Task
from cards_deck.training.tickets import METHODS
from cards_deck.training.tickets.masked import KeepMasked
from cards_deck.training.tickets.ticket import Masks, Ticket, exact_count, full_masks


@METHODS.register("lr_rewinding")
@dataclass(frozen=True)
class LearningRateRewinding:
    """LRR with global magnitude pruning.

    Attributes:
        density: fraction of convolution and linear weights kept at the end, exact to one weight; the last level
            prunes less than `rate` where the levels would overshoot.
        rate: share of the surviving weights pruned after each level.
    """

    density: float = 0.1
    rate: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.density <= 1 or not 0 < self.rate < 1:
            raise InputError(
                f"lr_rewinding: `density` must lie in (0, 1] and `rate` in (0, 1), got {self.density}, {self.rate}"
            )

    def find(self, network: nn.Module, task: Task, generator: torch.Generator) -> tuple[Ticket, ...]:
        """Train len(levels) + 1 times; one ticket."""
        masks = full_masks(network)
        total = sum(mask.numel() for mask in masks.values())
        for level, kept in enumerate(level_counts(total, self.density, self.rate)):
            if level:
                masks = prune_smallest(prunable_weights(network), masks, kept)
            masks = self._train_level(network, masks, task, f"level-{level:02d}")
        return (Ticket.of(network, masks),)

    @staticmethod
    def _train_level(network: nn.Module, masks: Masks, task: Task, stage: str) -> Masks:
        hook = KeepMasked(network, masks)
        trained = task.train(network, hooks=lambda optimizer: [hook], stage=stage)
        network.load_state_dict(trained.state_dict())
        return hook.masks


def level_counts(total: int, density: float, rate: float) -> list[int]:
    """Return the number of weights kept while each level trains, from `total` down to round(density * total)."""
    target = exact_count(total, density)
    counts = [total]
    while counts[-1] > target:
        counts.append(max(target, min(counts[-1] - 1, round(counts[-1] * (1 - rate)))))
    return counts


@torch.no_grad()
def prune_smallest(weights: Mapping[str, Tensor], masks: Masks, kept: int) -> Masks:
    """Return masks with the `kept` weights of largest magnitude among those that `masks` keep, over all layers."""
    magnitudes = torch.cat([torch.where(masks[n], w.abs(), -1.0).flatten() for n, w in weights.items()])
    chosen = torch.zeros_like(magnitudes, dtype=torch.bool)
    chosen[magnitudes.argsort(descending=True, stable=True)[:kept]] = True
    parts = chosen.split([w.numel() for w in weights.values()])
    return {name: part.view_as(masks[name]) for (name, part) in zip(weights, parts, strict=True)}
