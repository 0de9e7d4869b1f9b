"""Sup-tickets: superposing the cheap tickets of a cyclic run beats the tickets and a plain run of the same length."""

from __future__ import annotations

from typing import Any

from eval.tickets.cells import Cell
from eval.tickets.claims._base import Claim, Contrast, gain
from eval.tickets.scales import Scale, cell, described

EPOCHS = 1.5  # of the scale's


def superposed(scale: Scale, seed: int, name: str = "sup_tickets", **changes: Any) -> Cell:
    """Three cycles at the end, of a quarter of the epochs rounded to whole ones each."""
    fields: dict[str, Any] = {"density": scale.density, "interval": scale.interval, "tickets": 3, "share": 0.25}
    return cell(
        name,
        scale,
        seed,
        described("sup_tickets", **fields, **changes),
        setting=scale.setting(scale.with_epochs(EPOCHS)),
    )


def last_cheap(scale: Scale, seed: int) -> Cell:
    """The same run; a superposition in which the newest ticket is all is that ticket."""
    return superposed(scale, seed, "sup_tickets-last", average="moving", share_of_new=1.0)


def plain(scale: Scale, seed: int) -> Cell:
    """RigL for as many epochs."""
    method = described("rigl", density=scale.density, interval=scale.interval)
    return cell("rigl-long", scale, seed, method, setting=scale.setting(scale.with_epochs(EPOCHS)))


CLAIM = Claim(
    number=3,
    key="sup_tickets",
    paper="Yin et al., UAI 2022",
    sentence="Superposing cheap tickets into one of the same density is more accurate than the tickets themselves and "
    "than sparse training of the same length.",
    setting="three cycles at the end of the run, at the small scale of an epoch each; batch-norm recomputed for both",
    arms={"superposed": superposed, "last cheap ticket": last_cheap, "RigL": plain},
    contrasts=(
        Contrast("superposed − last cheap ticket, clean", gain("superposed", "last cheap ticket"), 0.003),
        Contrast("superposed − RigL, clean", gain("superposed", "RigL"), 0.003),
    ),
)
