"""RigL: growing by gradient beats growing at random and not moving at all."""

from __future__ import annotations

from eval.tickets.cells import Cell
from eval.tickets.claims._arms import rigl
from eval.tickets.claims._base import Claim, Contrast, gain
from eval.tickets.scales import Scale, cell, described


def static(scale: Scale, seed: int) -> Cell:
    """A random mask that stays."""
    return cell(f"random-d{scale.density:g}", scale, seed, described("random", density=scale.density))


def set_(scale: Scale, seed: int) -> Cell:
    """Random growth, as often."""
    method = described("set", density=scale.density, interval=scale.interval, end=0.75)
    return cell("set", scale, seed, method)


CLAIM = Claim(
    number=8,
    key="rigl",
    paper="Evci et al., ICML 2020",
    sentence="At equal density and epochs, moving the mask to where gradients are large beats a static random mask and "
    "moving it at random.",
    setting="ERK for all three",
    arms={"RigL": rigl, "static": static, "SET": set_},
    contrasts=(
        Contrast("RigL − static, clean", gain("RigL", "static")),
        Contrast("RigL − SET, clean", gain("RigL", "SET"), 0.003),
    ),
)
