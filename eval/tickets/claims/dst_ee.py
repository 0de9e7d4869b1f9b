"""DST-EE: growing also where it has seldom grown beats RigL at high sparsity."""

from __future__ import annotations

from eval.tickets.cells import Cell
from eval.tickets.claims._arms import rigl
from eval.tickets.claims._base import Claim, Contrast, gain
from eval.tickets.scales import Scale, cell, described


def dst_ee(scale: Scale, seed: int) -> Cell:
    """RigL with a bonus for exploration."""
    return cell("dst_ee", scale, seed, described("dst_ee", density=scale.sparse, interval=scale.interval))


def sparse_rigl(scale: Scale, seed: int) -> Cell:
    """RigL as sparse."""
    return rigl(scale, seed, scale.sparse)


CLAIM = Claim(
    number=12,
    key="dst_ee",
    paper="Huang et al., DAC 2023",
    sentence="At high sparsity, balancing exploitation and exploration when weights grow beats growing by gradient "
    "alone.",
    setting="the highest sparsity tried here",
    arms={"DST-EE": dst_ee, "RigL": sparse_rigl},
    contrasts=(Contrast("DST-EE − RigL, clean", gain("DST-EE", "RigL"), 0.003),),
    note="The paper's acquisition function is taken from memory of it; no code was published.",
)
