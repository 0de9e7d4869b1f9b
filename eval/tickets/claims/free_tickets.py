"""FreeTickets: several tickets of one sparse run, together, beat a dense network that costs as much to train."""

from __future__ import annotations

from eval.tickets.cells import Cell
from eval.tickets.claims._arms import dense
from eval.tickets.claims._base import Arms, Claim, Contrast, gain, per_seed
from eval.tickets.scales import Scale, cell, described


def ensemble(scale: Scale, seed: int) -> Cell:
    """EDST with three tickets over 9/4 of the epochs, about the paper's 450 of 200."""
    method = described("free_tickets", density=0.2, tickets=3, interval=scale.interval)
    return cell("free_tickets", scale, seed, method, setting=scale.setting(scale.with_epochs(2.25)))


def saved(arms: Arms) -> float:
    """Share of the dense network's training multiply-adds that the run did not need."""
    spent = {name: arms[name]["training"]["multiply_adds"] for name in arms}
    return 1 - float(spent["EDST"]) / float(spent["dense"])


CLAIM = Claim(
    number=2,
    key="free_tickets",
    paper="Liu et al., ICLR 2022 (FreeTickets)",
    sentence="An ensemble of tickets from one sparse training run is more accurate than the dense network, for fewer "
    "training FLOPs.",
    setting="density 0.2, three tickets, ERK",
    arms={"dense": dense, "EDST": ensemble},
    contrasts=(
        Contrast("ensemble − dense, clean", gain("EDST", "dense", cards=("ensemble", None))),
        Contrast("share of the dense training's multiply-adds saved", per_seed(saved), 0.0, "greater", "share"),
    ),
)
