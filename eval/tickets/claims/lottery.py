"""The lottery ticket hypothesis: the initial weights of a ticket matter, and so do its places."""

from __future__ import annotations

from functools import partial

from eval.tickets.cells import Cell
from eval.tickets.claims._arms import dense, lottery
from eval.tickets.claims._base import Claim, Contrast, gain
from eval.tickets.scales import Scale, cell, described


def control(scale: Scale, seed: int, start: str, places: str) -> Cell:
    """Training once more inside the ticket's mask, or a shuffled one."""
    method = described("same_mask", start=start, places=places)
    return cell(f"same_mask-{start}-{places}", scale, seed, method, given=lottery(scale, seed))


CLAIM = Claim(
    number=5,
    key="lottery",
    paper="Frankle and Carbin, ICLR 2019",
    sentence="A network contains a sparse subnetwork that, with its initial weights, trains to the dense network's "
    "accuracy; with other initial weights, or other places, it does not.",
    setting="global iterative pruning with warm-up, rewound to the initial weights; learning rate as for the dense "
    "network",
    arms={
        "dense": dense,
        "winning ticket": lottery,
        "its mask, weights drawn again": partial(control, start="random", places="kept"),
        "its shares per layer, places shuffled": partial(control, start="initial", places="shuffled"),
    },
    contrasts=(
        Contrast("ticket − weights drawn again, clean", gain("winning ticket", "its mask, weights drawn again")),
        Contrast("ticket − places shuffled, clean", gain("winning ticket", "its shares per layer, places shuffled")),
        Contrast("ticket − dense, clean", gain("winning ticket", "dense"), 0.01, "no_worse"),
    ),
)
