"""ShrinkBench: what a pruning method is worth depends on how much it prunes and on what is counted."""

from __future__ import annotations

import math
from functools import partial

from eval.tickets.cells import Cell
from eval.tickets.claims._base import Arms, Claim, Contrast, Measure, accuracy, gain, per_seed
from eval.tickets.scales import Scale, cell, described

LARGE, TINY = 0.5, 0.05


def pruned(scale: Scale, seed: int, method: str, density: float) -> Cell:
    """Trained dense, pruned by magnitude or at random, fine-tuned."""
    return cell(f"{method}-d{density:g}", scale, seed, described(method, density=density))


def wider(arms: Arms) -> float:
    """By how much the gap between magnitude and random pruning is wider where little is left."""
    gaps = [accuracy(arms, f"magnitude, {d:g}") - accuracy(arms, f"random, {d:g}") for d in (TINY, LARGE)]
    return gaps[0] - gaps[1]


def disagreement(arms: Arms) -> float:
    """log2 of compression over theoretical speed-up; 0 where they say the same."""
    sizes = arms[f"magnitude, {TINY:g}"]["cards"]["ticket"]["sizes"]
    return math.log2(sizes["compression"] / sizes["speedup"])


CLAIM = Claim(
    number=16,
    key="shrinkbench",
    paper="Blalock et al., MLSys 2020",
    sentence="Pruning at random is not much worse than by magnitude where much is left, and far worse where little "
    "is; and "
    "compression and speed-up are different measures.",
    setting=f"one-shot pruning at densities {LARGE:g} and {TINY:g}; magnitude over all layers, random in each layer",
    arms={
        f"{name}, {density:g}": partial(pruned, method=method, density=density)
        for name, method in (("magnitude", "fine_tune"), ("random", "random_after"))
        for density in (LARGE, TINY)
    },
    contrasts=(
        Contrast(f"gap at {TINY:g} − gap at {LARGE:g}, clean", per_seed(wider), 0.01),
        Contrast("log2(compression / theoretical speed-up)", per_seed(disagreement), 0.1, "greater", "octaves"),
    ),
    note="The effect is a difference of gaps: that random pruning is not much worse where much is left has no effect "
    "of its own: the gaps tell.",
    measures=tuple(
        Measure(f"magnitude − random at {density:g}, clean", gain(f"magnitude, {density:g}", f"random, {density:g}"))
        for density in (LARGE, TINY)
    ),
)
