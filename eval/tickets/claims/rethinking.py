"""Rethinking the value of pruning: the architecture is what pruning finds, not the weights."""

from __future__ import annotations

from functools import partial

from eval.tickets.cells import Cell
from eval.tickets.claims._base import Claim, Contrast, gain
from eval.tickets.scales import Scale, cell, described


def structured(scale: Scale, seed: int, retraining: str) -> Cell:
    """Whole channels cut out, the rest trained in one of three ways."""
    method = described("structured", density=0.3, retraining=retraining)
    return cell(f"structured-{retraining}", scale, seed, method)


CLAIM = Claim(
    number=6,
    key="rethinking",
    paper="Liu et al., ICLR 2019",
    sentence="A network pruned of channels and trained from scratch is no worse than one that is fine-tuned with the "
    "weights it inherited.",
    setting="channels cut to 30 % of the weights; scratch-E trains for the schedule's epochs, scratch-B for its "
    "computation",
    arms={
        "fine-tuned": partial(structured, retraining="fine_tune"),
        "scratch-E": partial(structured, retraining="scratch_e"),
        "scratch-B": partial(structured, retraining="scratch_b"),
    },
    contrasts=(
        Contrast("scratch-E − fine-tuned, clean", gain("scratch-E", "fine-tuned"), 0.005, "no_worse"),
        Contrast("scratch-B − fine-tuned, clean", gain("scratch-B", "fine-tuned"), 0.005, "no_worse"),
    ),
    note="Fine-tuning is short and at a low rate, as in the published code. Networks that were trained briefly are far "
    "from done, which favours training again.",
)
