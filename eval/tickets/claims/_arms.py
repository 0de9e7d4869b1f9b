"""Arms that several claims share, so that they are trained once."""

from __future__ import annotations

from eval.tickets.cells import Cell
from eval.tickets.scales import Scale, cell, described, steps_of


def dense(scale: Scale, seed: int) -> Cell:
    """The whole network, trained once."""
    return cell("dense", scale, seed, described("random", density=1.0))


def lottery(scale: Scale, seed: int, rewind: int = 0) -> Cell:
    """Iterative magnitude pruning with rewinding to the end of epoch `rewind`."""
    method = described("lottery", density=scale.density, rate=scale.rate, rewind=steps_of(scale, rewind))
    return cell(f"lottery-k{rewind}", scale, seed, method)


def rigl(scale: Scale, seed: int, density: float | None = None) -> Cell:
    """RigL at the scale's density, or another."""
    share = density or scale.density
    return cell(f"rigl-d{share:g}", scale, seed, described("rigl", density=share, interval=scale.interval))
