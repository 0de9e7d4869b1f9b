"""Learning rates of dense training followed by rounds of pruning and retraining (Zimmer et al., ICLR 2023, section 3).

The rules are in the docstring of `bimp.py`, which the command line shows.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

from cards_deck.training.loop import Rate

RETRAININGS = ("allr", "clr", "ft", "llr", "lrw", "slr")
WARM_UP = 0.1  # share of a retraining, published code


@dataclass(frozen=True)
class Plan:
    """The epochs at which the phases begin (dense, then the rounds), and where the last one ends."""

    starts: tuple[int, ...]

    @property
    def dense(self) -> int:
        """Epochs of dense training."""
        return self.starts[1]

    def length(self, phase: int) -> int:
        """Epochs of phase 0 (dense), 1, 2, ..."""
        return self.starts[phase + 1] - self.starts[phase]


@dataclass(frozen=True)
class Rates:
    """Learning rate of every step.

    Attributes:
        retrain: name of the retraining's rule.
        dense_rate: learning rate after a share of the dense training.
        warmup: share of the dense training in which that rises.
        peak: its highest.
        plan: the phases.
        per_epoch: steps in an epoch.
    """

    retrain: str
    dense_rate: Rate
    warmup: float
    peak: float
    plan: Plan
    per_epoch: int

    def __call__(self, step: int, norm_drops: list[float]) -> float:
        """Rate of `step`; `norm_drops` holds one value for each round begun."""
        phase = bisect_right(self.plan.starts, step // self.per_epoch) - 1
        share = (step / self.per_epoch - self.plan.starts[phase]) / self.plan.length(phase)
        if phase == 0:
            return self.dense_rate(share)
        return self.retraining_rate(share, self.plan.length(phase), norm_drops[phase - 1])

    def retraining_rate(self, share: float, epochs: int, norm_drop: float) -> float:
        """Rate after `share` of a retraining of `epochs` epochs; the rules are in the module's docstring."""
        dense = self.plan.dense
        lowest = self.dense_rate(1 - 1 / (dense * self.per_epoch))
        if self.retrain == "ft":
            return lowest
        if self.retrain == "lrw":
            return self.dense_rate(1 - (1 - share) * epochs / dense)
        peak = self.peak
        if self.retrain == "allr":
            peak *= min(max(norm_drop, epochs / dense), 1.0)
        if share < WARM_UP:
            return peak * (1 - math.cos(math.pi * share / WARM_UP)) / 2
        left = (share - WARM_UP) / (1 - WARM_UP)
        if self.retrain == "clr":
            return lowest + (peak - lowest) * (1 + math.cos(math.pi * left)) / 2
        if self.retrain == "slr":
            return peak if left < self.warmup else self.dense_rate(left)
        return peak * (1 - left)
