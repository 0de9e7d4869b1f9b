"""The suites: which data set, which corruptions, what the numbers are called."""

from __future__ import annotations

from dataclasses import dataclass

from cards_deck.corruptions import CORRUPTIONS, SEVERITIES
from cards_deck.errors import InputError


@dataclass(frozen=True)
class Suite:
    """Corruptions at severities 1 to 5 of the test split of a data set.

    `data` is the data set it is named for; `folder` is where the public files of the benchmark lie under the data root.
    """

    name: str
    title: str
    data: str
    folder: str
    corruptions: tuple[str, ...] = CORRUPTIONS

    @property
    def cells(self) -> tuple[tuple[str, int], ...]:
        """All (corruption, severity) pairs, corruption by corruption."""
        return tuple((corruption, severity) for corruption in self.corruptions for severity in SEVERITIES)

    def title_for(self, data: str, source: str, seed: int) -> str:
        """What the numbers may be called: only official files on the suite's own data carry the plain name."""
        name = self.title if data == self.data else f"{self.title} corruptions on {data}"
        return name if source == "official" else f"{name} (regenerated, seed {seed})"


SUITES = {
    suite.name: suite
    for suite in (
        Suite("cifar10-c", "CIFAR-10-C", "cifar10", "CIFAR-10-C"),
        Suite("cifar100-c", "CIFAR-100-C", "cifar100", "CIFAR-100-C"),
    )
}


def suite_named(name: str) -> Suite:
    """The suite called `name`; InputError listing the known ones."""
    if name not in SUITES:
        raise InputError(f"suite must be one of {', '.join(sorted(SUITES))}; got {name!r}")
    return SUITES[name]
