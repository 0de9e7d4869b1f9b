"""Budgeted IMP: a linearly falling learning rate in each retraining beats fine-tuning and rewinding at equal budget."""

from __future__ import annotations

from functools import partial

from eval.tickets.cells import Cell
from eval.tickets.claims._base import Claim, Contrast, gain
from eval.tickets.scales import Scale, cell, described


def bimp(scale: Scale, seed: int, retrain: str) -> Cell:
    """The same stepwise dense training and the same prunings; only the learning rate of the retrainings differs."""
    method = described("bimp", density=scale.density, rounds=3, dense=0.5, retrain=retrain, dense_rate="schedule")
    return cell(f"bimp-{retrain}", scale, seed, method, setting=scale.setting(scale.with_epochs(1.5, decay="step")))


CLAIM = Claim(
    number=11,
    key="bimp",
    paper="Zimmer et al., ICLR 2023",
    sentence="Within one budget of epochs, retraining with a linearly falling learning rate (LLR) beats fine-tuning "
    "(FT) "
    "and learning-rate rewinding (LRW).",
    setting="half of the epochs dense, with a stepwise learning rate; three prunings, each with a third of the rest",
    arms={name: partial(bimp, retrain=name.lower()) for name in ("LLR", "LRW", "FT")},
    contrasts=(
        Contrast("LLR − FT, clean", gain("LLR", "FT")),
        Contrast("LLR − LRW, clean", gain("LLR", "LRW"), 0.003),
    ),
    note="LRW replays the end of the dense training. With few epochs most of that lies at the last rate, which is "
    "FT's: the nearer the two arms are to each other, the more the second effect repeats the first.",
)
