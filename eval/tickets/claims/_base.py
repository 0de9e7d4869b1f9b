"""What a claim is: arms, each a cell for every seed, and effects between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.tickets.cells import Cell
from eval.tickets.scales import Scale
from eval.tickets.verdicts import Kind

Json = dict[str, Any]
Arms = Mapping[str, Json]  # the numbers of each arm's cell, of one seed
Arm = Callable[[Scale, int], Cell]
Effects = Callable[[Sequence[Arms]], list[float]]


@dataclass(frozen=True)
class Contrast:
    """One effect.

    Attributes:
        title: what is compared, in words.
        effects: one number for each seed.
        smallest: smallest effect of interest, see `verdicts.RULE`.
        kind: `greater`: a gain is claimed; `no_worse`: that nothing is lost.
        unit: `points` of accuracy (shares in [0, 1] here), or a word for plain numbers.
    """

    title: str
    effects: Effects
    smallest: float = 0.005
    kind: Kind = "greater"
    unit: str = "points"


@dataclass(frozen=True)
class Measure:
    """A number that no verdict is given on.

    Attributes:
        title: what it is, in words.
        values: one for each seed.
        above: what the claim presupposes, on every seed; None: it is only shown.
        unit: as that of a contrast.
    """

    title: str
    values: Effects
    above: float | None = None
    unit: str = "points"

    def fails(self, seeds: Sequence[Arms]) -> bool:
        """Whether what the claim presupposes does not hold."""
        return self.above is not None and any(value <= self.above for value in self.values(seeds))


@dataclass(frozen=True)
class Claim:
    """The central claim of one paper.

    Attributes:
        number: place in the scoreboard.
        key: one word for the command line.
        paper: authors and venue.
        sentence: the claim.
        setting: what is special about the setting here, in words.
        arms: by name, in the order of the report.
        contrasts: what the verdict is given on.
        note: what the verdict does not say.
        measures: what else was measured, and what the claim presupposes.
    """

    number: int
    key: str
    paper: str
    sentence: str
    setting: str
    arms: Mapping[str, Arm]
    contrasts: tuple[Contrast, ...]
    note: str = ""
    measures: tuple[Measure, ...] = ()

    def cells(self, scale: Scale, seeds: Sequence[int]) -> list[Cell]:
        """Every arm of every seed."""
        return [arm(scale, seed) for seed in seeds for arm in self.arms.values()]


def per_seed(effect: Callable[[Arms], float]) -> Effects:
    """An effect that each seed gives by itself."""
    return lambda seeds: [effect(arms) for arms in seeds]


def accuracy(arms: Arms, arm: str, domain: str = "clean", card: str | None = None, split: str = "test") -> float:
    """Accuracy of an arm's card: the only one, the one named, or "ensemble", all that the arm has together."""
    numbers = arms[arm]
    if card == "ensemble":
        found = numbers["ensemble"]
    else:
        found = numbers["cards"][card] if card is not None else next(iter(numbers["cards"].values()))
    return float(found["accuracy"][split][domain])


def gain(
    better: str, worse: str, domain: str = "clean", cards: tuple[str | None, str | None] = (None, None)
) -> Effects:
    """Difference of test accuracy between two arms (or two cards of them)."""
    return per_seed(lambda arms: accuracy(arms, better, domain, cards[0]) - accuracy(arms, worse, domain, cards[1]))
