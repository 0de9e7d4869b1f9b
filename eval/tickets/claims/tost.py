"""ToST: any mask trains better if the network is soft at first."""

from __future__ import annotations

from eval.tickets.cells import Cell
from eval.tickets.claims._base import Claim, Contrast, gain
from eval.tickets.claims.rigl import static
from eval.tickets.scales import Scale, cell, described


def tost(scale: Scale, seed: int) -> Cell:
    """The random mask of the control, of the same seed, trained with all four aids."""
    rescaling = 30 if scale.name == "small" else 180
    return cell("tost", scale, seed, described("tost", density=scale.density, rescale_steps=rescaling))


CLAIM = Claim(
    number=15,
    key="tost",
    paper="Jaiswal et al., ICML 2022",
    sentence="Training a given sparse mask with soft activations, ghost skips, label smoothing and re-scaled weights "
    "is "
    "more accurate than training it plainly.",
    setting="a random mask; the aids are annealed away, so that both arms end as the same plain network",
    arms={"ToST": tost, "plain": static},
    contrasts=(Contrast("ToST − plain, clean", gain("ToST", "plain")),),
)
