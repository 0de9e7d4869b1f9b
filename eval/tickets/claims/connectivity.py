"""Linear mode connectivity: lottery tickets work where training is stable to the noise of SGD."""

from __future__ import annotations

from functools import partial

from eval.tickets.cells import Cell
from eval.tickets.claims._arms import lottery
from eval.tickets.claims._base import Arms, Claim, Contrast, Effects, Measure, gain, per_seed
from eval.tickets.scales import Scale, cell, described


def apart(scale: Scale, seed: int, late: bool, sparse: bool) -> Cell:
    """The barrier between two copies that part at initialisation, or `late`; dense, or in the ticket of that point."""
    epochs = scale.rewind if late else 0
    given = lottery(scale, seed, epochs) if sparse else None
    name = f"apart-{'ticket' if sparse else 'dense'}-k{epochs}"
    return cell(name, scale, seed, described("apart", epochs=epochs), given=given, procedure="barrier")


def early(scale: Scale, seed: int) -> Cell:
    """Rewound to the initial weights."""
    return lottery(scale, seed, 0)


def late(scale: Scale, seed: int) -> Cell:
    """Rewound to a later point."""
    return lottery(scale, seed, scale.rewind)


def height(name: str) -> Effects:
    """The error barrier of one arm."""
    return per_seed(lambda arms: float(arms[name]["barrier"]["height"]))


def higher(one: str, other: str) -> Effects:
    """How much higher the error barrier of one arm is."""

    def effect(arms: Arms) -> float:
        return float(arms[one]["barrier"]["height"]) - float(arms[other]["barrier"]["height"])

    return per_seed(effect)


CLAIM = Claim(
    number=4,
    key="connectivity",
    paper="Frankle et al., ICML 2020",
    sentence="Copies trained apart from initialisation are separated by an error barrier, copies trained apart a "
    "little "
    "later are not; tickets rewound to that later point are better than tickets rewound to initialisation.",
    setting="barrier on 2,000 held-out images at 11 points, batch-norm recomputed at each; 'later' is after a few "
    "epochs",
    arms={
        "dense, apart at 0": partial(apart, late=False, sparse=False),
        "dense, apart later": partial(apart, late=True, sparse=False),
        "ticket, apart at 0": partial(apart, late=False, sparse=True),
        "ticket, apart later": partial(apart, late=True, sparse=True),
        "lottery, rewound to 0": early,
        "lottery, rewound later": late,
    },
    contrasts=(
        Contrast("barrier at 0 − barrier later, dense", higher("dense, apart at 0", "dense, apart later"), 0.02),
        Contrast("barrier at 0 − barrier later, ticket", higher("ticket, apart at 0", "ticket, apart later"), 0.02),
        Contrast("rewound later − rewound to 0, clean", gain("lottery, rewound later", "lottery, rewound to 0")),
    ),
    note="That copies which part later are not separated is in the heights, and no effect of its own. Where "
    "copies that part at 0 are not separated either, there is no barrier to lose.",
    measures=tuple(
        Measure(f"barrier, {name}", height(name))
        for name in ("dense, apart at 0", "dense, apart later", "ticket, apart at 0", "ticket, apart later")
    ),
)
