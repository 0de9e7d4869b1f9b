"""How a card was made: the record that gives it its id."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from cards_deck import files
from cards_deck.checks import is_number, is_text, is_whole
from cards_deck.errors import CardError

BITS = (1, 2, 8, 16, 32)
AVERAGE, MAX_PARENTS = "average", 1000
MIRRORED = "mirrored"


@dataclass(frozen=True)
class CardRecord:
    """How a card was made. Exactly these fields make its `id`, so two cards made alike share it.

    `density` is the fraction of conv and linear weights kept, in (0, 1], of those of the network it was cut from where
    its method says how many those were (`weights`); `bits` the width of a kept value in the file:
    32 or 16 (floats), 8 (int8), 2 (ternary) or 1 (sign), the last three with a scale for each layer or output;
    `parents` the ids of the cards that this one was fine-tuned, quantized or blended from. The dicts hold plain JSON
    values and a "name" where they describe a registered thing.
    """

    network: dict[str, Any]
    method: dict[str, Any]
    quantizer: dict[str, Any]
    augmentation: dict[str, Any]
    density: float
    bits: int
    data: dict[str, Any]
    schedule: dict[str, Any]
    seed: int
    parents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("network", "method", "quantizer", "augmentation", "data", "schedule"):
            if not isinstance(getattr(self, name), dict):
                raise CardError(f"a card's {name} must be a dict, not {getattr(self, name)!r:.80}")
        if not is_text(self.augmentation.get("name"), 100):
            raise CardError("a card's augmentation must have a 'name': the gate routes by it")
        if not is_number(self.density, 0, 1) or self.density == 0:
            raise CardError(f"a card's density must be in (0, 1], not {self.density!r}")
        if not is_whole(self.bits) or self.bits not in BITS:
            raise CardError(f"a card's bits must be one of {', '.join(map(str, BITS))}, not {self.bits!r}")
        if not is_whole(self.seed):
            raise CardError(f"a card's seed must be an int, not {self.seed!r}")
        if type(self.parents) not in (tuple, list) or not all(is_text(parent, 100) for parent in self.parents):
            raise CardError(f"a card's parents must be card ids, not {self.parents!r:.80}")
        object.__setattr__(self, "density", float(self.density))
        object.__setattr__(self, "parents", tuple(self.parents))
        if MIRRORED in self.method and not (self.mirrored and self.method.get("name") == AVERAGE):
            raise CardError(
                "a card's method may hold `mirrored` only as true and in an average, not "
                f"{self.method[MIRRORED]!r:.80} in {self.method.get('name')!r:.80}: leave it out"
            )
        if self.averaged or (self.method.get("name") == AVERAGE and "of" in self.method):
            self._check_coefficients()
        if self.cut_from is not None and not is_whole(self.cut_from, 1, 1 << 40):
            raise CardError(f"a card's method may hold `weights`, a whole number from 1, not {self.cut_from!r:.80}")
        self.to_json()  # refuses what JSON cannot hold

    def _check_coefficients(self) -> None:
        weights = self.method.get("coefficients")
        alone = self.mirrored and weights == [1]
        if not isinstance(weights, list) or not all(is_number(w, 0, 1) and (0 < w < 1 or alone) for w in weights):
            raise CardError(f"an average's coefficients must be a list of numbers in (0, 1), not {weights!r:.200}")
        if abs(math.fsum(weights) - 1) > 1e-9:
            raise CardError(f"an average's coefficients must sum to 1, not to {math.fsum(weights)!r}")
        of = self.parents if self.averaged else self.method["of"]
        if type(of) not in (tuple, list) or not all(is_text(parent, 100) for parent in of):
            raise CardError(f"a quantized average's method must hold, as `of`, the cards' ids, not {of!r:.80}")
        if not len(weights) == len(of) == len(set(of)) <= MAX_PARENTS:
            raise CardError(
                f"an average must have one coefficient for each of 2 to {MAX_PARENTS} distinct parents (of 1, where it "
                f"sees images mirrored), not {len(weights)} for {len(of)}"
            )

    @property
    def cut_from(self) -> int | None:
        """Conv and linear weights of the larger network whose channels were cut to make this one; None: not cut."""
        return self.method.get("weights")

    @property
    def averaged(self) -> bool:
        """Whether this is a weighted average of its parents' weights. One that was quantized since is not: its parent
        is the average, and its method says, as `of`, what that was made of."""
        return self.method.get("name") == AVERAGE and self.bits >= 16 and "of" not in self.method

    @property
    def mirrored(self) -> bool:
        """Whether it sees every image mirrored, left for right: the same weights look at it a second time."""
        return self.method.get(MIRRORED) is True

    @property
    def weights_of(self) -> str:
        """Id of the card whose weights a second look has; its own for other cards, and where it was quantized since."""
        if not self.mirrored or not self.averaged:
            return self.id
        if len(self.parents) == 1:
            return self.parents[0]
        method = {name: value for name, value in self.method.items() if name != MIRRORED}
        return dataclasses.replace(self, method=method).id

    @property
    def quantized(self) -> bool:
        """Whether a quantizer made its values from those of its parent, or what it is an average of was made so."""
        return self.quantizer.get("name") != "none"

    @property
    def average_of(self) -> tuple[str, ...]:
        """Ids of the cards whose weights were averaged, also where the average was quantized since; none for others."""
        if self.method.get("name") != AVERAGE:
            return ()
        return self.parents if self.averaged else tuple(self.method.get("of", ()))

    @property
    def averages_statistics(self) -> bool:
        """Whether an average's batch-norm statistics are averaged like its weights, so that the parents give both."""
        return bool(self.method.get("batch_norm") == {"name": "averaged"})

    def to_json(self) -> str:
        """Canonical JSON text; the `id` is its hash."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        try:
            return files.canonical_json(fields)
        except (TypeError, ValueError) as error:
            raise CardError(f"a card's record must hold plain JSON values: {error}") from None

    @classmethod
    def from_json(cls, text: str) -> CardRecord:
        """The inverse of `to_json`; CardError for a missing, unknown or malformed field."""
        try:
            fields = files.strict_json(text)
        except ValueError as error:
            raise CardError(f"a card's record must be JSON: {error}") from None
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(fields, dict) or set(fields) != names or not isinstance(fields["parents"], list):
            raise CardError(f"a card's record must have exactly the fields {', '.join(sorted(names))}")
        return cls(**fields)

    @property
    def id(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the canonical JSON of the fields."""
        return files.sha256(self.to_json().encode())[:12]
