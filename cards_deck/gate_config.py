"""What a deck's manifest says of its gate."""

from __future__ import annotations

from dataclasses import dataclass

from cards_deck.checks import is_number, is_whole
from cards_deck.errors import InputError


@dataclass(frozen=True)
class GateConfig:
    """The gate's parameters.

    `kind`: "spectral" routes by the nearest reference, "uniform" averages all cards. The others belong to the spectral
    gate: `max_cards` run at most per image; where (d2 - d1) / d1 of the two nearest references is below `margin`, the
    best card of the second joins (0 = never); an image farther from every reference than `unknown_quantile` of the
    training images is flagged.
    """

    kind: str = "spectral"
    max_cards: int = 2
    margin: float = 0.1
    unknown_quantile: float = 0.995

    def __post_init__(self) -> None:
        if self.kind not in ("spectral", "uniform"):
            raise InputError(f"the gate's kind must be 'spectral' or 'uniform', not {self.kind!r}")
        if not is_whole(self.max_cards, 1):
            raise InputError(f"max_cards must be a whole number of at least 1, not {self.max_cards!r}")
        for name, high in (("margin", 1e6), ("unknown_quantile", 1.0)):
            value = getattr(self, name)
            if not is_number(value, 0, high):
                raise InputError(f"the gate's {name} must be a number from 0 to {high:g}, not {value!r}")
            object.__setattr__(self, name, float(value))
