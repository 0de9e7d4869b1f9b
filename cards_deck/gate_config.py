"""What a deck's manifest says of its gate."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck.checks import is_number, is_text, is_whole
from cards_deck.errors import InputError

Arrays = Mapping[str, NDArray[np.float32]]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_FIELDS = ("kind", "max_cards", "unknown_quantile", "abstain_below", "seconds", "parameters")
MAX_ARRAY = 1 << 24  # values
# What a gate may cost where nobody says otherwise: mean cards per image, and accuracy in its worst validation cell.
MOST_CARDS, MOST_LOSS = 2.0, 0.03


@dataclass(frozen=True, eq=False)
class GateConfig:
    """The gate's parameters. Equal if all scalars and arrays are.

    `kind`: a name in `cards_deck.inference.gates.GATES`. At most `max_cards` run for an image, whatever the gate asks
    for; only "uniform" is the average of the whole deck by definition. An image farther from every reference than
    `unknown_quantile` of the training images is flagged, and answered with "unknown" rather than a class where no class
    then reaches the probability `abstain_below`. After `seconds` of a request no further card is started. `parameters`
    and `arrays` (float32) are what the kind has learned; parameters that are left out have the kind's defaults.
    """

    kind: str = "spectral"
    max_cards: int = 2
    unknown_quantile: float = 0.995
    abstain_below: float | None = None
    seconds: float | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not is_text(self.kind, 40):
            raise InputError(f"the gate's kind must be a text of 1 to 40 characters, not {self.kind!r:.80}")
        if not is_whole(self.max_cards, 1):
            raise InputError(f"max_cards must be a whole number of at least 1, not {self.max_cards!r}")
        for name, high in (("unknown_quantile", 1.0), ("abstain_below", 1.0), ("seconds", 1e9)):
            value = getattr(self, name)
            if value is None and name != "unknown_quantile":
                continue
            if not is_number(value, 0, high):
                raise InputError(f"the gate's {name} must be a number from 0 to {high:g}, not {value!r}")
            object.__setattr__(self, name, float(value))
        object.__setattr__(self, "parameters", _parameters(self.parameters))
        object.__setattr__(self, "arrays", _arrays(self.arrays))

    def scalars(self) -> dict[str, Any]:
        """All but the arrays, as JSON values."""
        return {name: getattr(self, name) for name in _FIELDS if name != "parameters"} | {
            "parameters": dict(self.parameters)
        }

    def summary(self) -> dict[str, Any]:
        """The scalars for a report: one flat dictionary, without what is not set."""
        found = self.scalars()
        return {name: value for name, value in (found | found.pop("parameters")).items() if value is not None}

    def with_kind(self, kind: str) -> GateConfig:
        """Another kind with the same limits, without what the old one has learned."""
        return self if kind == self.kind else replace(self, kind=kind, parameters={}, arrays={})

    @classmethod
    def from_scalars(cls, scalars: Mapping[str, Any], arrays: Arrays | None = None) -> GateConfig:
        """The inverse of `scalars`; also reads `margin` where older decks have it, beside the other fields."""
        given = dict(scalars)
        if "margin" in given and "parameters" not in given:
            margin = given.pop("margin")
            given["parameters"] = {} if given.get("kind") == "uniform" else {"margin": margin}
        if unknown := sorted(set(given) - set(_FIELDS)):
            raise InputError(f"the gate has no {', '.join(map(repr, unknown))}: its fields are {', '.join(_FIELDS)}")
        return cls(**given, arrays=arrays or {})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GateConfig):
            return NotImplemented
        if self.scalars() != other.scalars() or set(self.arrays) != set(other.arrays):
            return False
        return all(np.array_equal(array, other.arrays[name]) for name, array in self.arrays.items())

    def __hash__(self) -> int:
        return hash((self.kind, self.max_cards, self.unknown_quantile, tuple(sorted(self.parameters.items()))))


def _parameters(given: object) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise InputError(f"the gate's parameters must be names and numbers, not {type(given).__name__}")
    for name, value in given.items():
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise InputError(f"a gate's parameter must be named by small letters, digits and _, not {name!r:.80}")
        if not is_number(value):
            raise InputError(f"the gate's {name} must be a finite number, not {value!r:.80}")
    return {name: float(given[name]) for name in sorted(given)}


def _arrays(given: object) -> dict[str, NDArray[np.float32]]:
    if not isinstance(given, Mapping):
        raise InputError(f"the gate's arrays must be names and arrays, not {type(given).__name__}")
    for name, array in given.items():
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise InputError(f"a gate's array must be named by small letters, digits and _, not {name!r:.80}")
        if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.size > MAX_ARRAY:
            raise InputError(f"the gate's {name} must be a float32 array of at most {MAX_ARRAY} values")
        if not np.isfinite(array).all():
            raise InputError(f"the gate's {name} must be finite")
    return {name: given[name] for name in sorted(given)}
