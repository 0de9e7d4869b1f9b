"""COLT: tickets on which networks of different classes agree, as good as the lottery's, in fewer rounds."""

from __future__ import annotations

from eval.tickets.cells import Cell
from eval.tickets.claims._arms import lottery
from eval.tickets.claims._base import Arms, Claim, Contrast, gain, per_seed
from eval.tickets.scales import Scale, cell, described


def colt(scale: Scale, seed: int) -> Cell:
    """Two groups of classes, each pruning as much in a round as the lottery does."""
    return cell("colt", scale, seed, described("colt", density=scale.density, rate=scale.rate))


def rounds(arms: Arms, arm: str) -> int:
    """Prunings on the way: levels behind the dense one, or rounds of groups."""
    names = {name.split("-group-")[0] for name, _, _ in arms[arm]["training"]["stages"] if name[-1].isdigit()}
    return len(names - {"level-00"})


CLAIM = Claim(
    number=9,
    key="colt",
    paper="Hossain et al., IEEE TAI 2025",
    sentence="Keeping only the weights that networks of different classes agree on reaches the same density in fewer "
    "rounds than the lottery, at the same accuracy.",
    setting="two halves of the classes; both prune the same share of what is left in a round",
    arms={"COLT": colt, "lottery": lottery},
    contrasts=(
        Contrast("COLT − lottery, clean", gain("COLT", "lottery"), 0.01, "no_worse"),
        Contrast(
            "rounds of the lottery − rounds of COLT",
            per_seed(lambda arms: rounds(arms, "lottery") - rounds(arms, "COLT")),
            1.0,
            "greater",
            "rounds",
        ),
    ),
)
