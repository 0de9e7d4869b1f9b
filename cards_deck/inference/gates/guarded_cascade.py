"""A cascade for a spectrum that may be wrong: cards answer for all others only where that is known to lose little."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np

from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._asking import AskingGate
from cards_deck.inference.gates._base import GATES, Bools, Known, largest
from cards_deck.inference.gates._fit import spending, tried
from cards_deck.inference.gates._likelihood import fit_linear, worst_temperatures
from cards_deck.inference.gates._observed import Doubles, Observed, read
from cards_deck.inference.gates._risk import NEVER, RISKS, sure_enough
from cards_deck.spectrum import Floats


@GATES.register("guarded_cascade")
@dataclass(frozen=True, eq=False)
class GuardedCascadeGate(AskingGate):
    """The preferred card answers alone; the others join one by one until those that ran are sure enough, up to
    `max_cards`. Sure enough: in no validation cell do answers that are at least so sure, of just these cards, lose more
    than `risk` of its accuracy against the plain average of all. This counts all images of the cell, whatever their
    spectra say: a card that the spectrum names by mistake, under a shift that the card does not know, is seldom
    believed alone, and one that is right under all of them often.

    Who joins is no average of others while there are others, and comes from an augmentation that has not answered yet
    while there is one: cards of one augmentation err together.

    `pools` [p, k]: 0 or 1, the cards that may have run together; `enough` [r, p]: their threshold for each of `risks`
    [r], rising; the largest that is no more than `risk` holds. Cards that are no pool are never sure.
    """

    PARAMETERS: ClassVar[Mapping[str, float]] = {"risk": 0.005}
    ARRAYS: ClassVar[tuple[str, ...]] = ("weights", "bias", "temperatures", "pools", "risks", "enough")

    _averages: Bools = field(init=False, repr=False)  # [k]
    _akin: Bools = field(init=False, repr=False)  # [k, k] whether two cards were trained under the same augmentation
    _sizes: Floats = field(init=False, repr=False)  # [p] cards in each pool
    _enough: Doubles = field(init=False, repr=False)  # [p] at this risk

    def prepare(self) -> None:
        """Check the arrays, and make tables."""
        super().prepare()
        pools, risks = self.array("pools", -1, self.cards), self.array("risks", -1)
        enough = self.array("enough", len(risks), len(pools))
        if not np.isin(pools, (0, 1)).all() or not pools.any(axis=1).all():
            raise InputError("the gate's pools must be 0 or 1, each with at least one card")
        if not len(risks) or risks[0] != 0 or (np.diff(risks) <= 0).any():
            raise InputError("the gate's risks must rise from 0")
        names = np.array(self.known.augmentations)
        averages = np.ones(self.cards, np.bool_)
        averages[list(self.known.originals)] = False
        allowed = int(np.searchsorted(risks, np.float32(self.parameter("risk")), side="right")) - 1
        object.__setattr__(self, "_averages", averages)
        object.__setattr__(self, "_akin", names[:, None] == names)
        object.__setattr__(self, "_sizes", pools.sum(axis=1))
        object.__setattr__(self, "_enough", enough[allowed].astype(np.float64))

    def following(self, preference: Floats, ran: Bools) -> Bools:
        """See `AskingGate`: the most preferred one of another augmentation that is no average, else of those that are
        none, else of those left."""
        left = ~ran & ~self._averages
        fresh = left & ~(ran[:, :, None] & self._akin).any(axis=1)
        for wider in (left, ~ran):
            fresh = np.where(fresh.any(axis=1, keepdims=True), fresh, wider)
        return largest(np.where(fresh, preference, np.float32(-1)), 1)

    def needed(self, ran: Bools) -> Doubles:
        """See `Gate`: of the pool of these cards."""
        shared = ran.astype(np.float32) @ self.config.arrays["pools"].T
        same = (shared == self._sizes) & (ran.sum(axis=1)[:, None] == self._sizes)
        return np.asarray(np.where(same, self._enough, NEVER).min(axis=1, initial=NEVER), np.float64)

    @classmethod
    def fit(
        cls, observed: Observed, config: GateConfig, known: Known, *, budgets: Sequence[float] = (2.0,)
    ) -> tuple[Self, ...]:
        """Preference by its likelihood, each card's temperature from the cell where it is too sure the most, what is
        sure enough of the cards that the rows' spectra would have run; then the risk that spends each budget."""
        weights, bias = fit_linear(observed)
        arrays = {
            "weights": weights, "bias": bias, "temperatures": worst_temperatures(observed),
            "pools": np.zeros((0, len(bias)), np.float32), "risks": np.array(RISKS, np.float32),
            "enough": np.zeros((len(RISKS), 0), np.float32),
        }  # fmt: skip
        bare = cls(dataclasses.replace(config, parameters={}, arrays=arrays), known)
        pools = bare.pools(read(bare, observed).preference)
        enough = sure_enough(observed, known, pools, arrays["temperatures"])
        arrays |= {"pools": pools.astype(np.float32), "enough": enough}
        fitted = dataclasses.replace(config, parameters={}, arrays=arrays)
        found = tried(lambda config: cls(config, known), fitted, "risk", RISKS, observed)
        return tuple(spending(found, most_cards) for most_cards in budgets)

    def pools(self, preference: Floats) -> Bools:
        """bool [p, k]: every set of cards that may have run when the gate decides whether to ask on, for some row of
        preferences [n, k]."""
        asked, found = largest(preference, 1), []
        for _ in range(min(self.limit, self.cards) - 1):
            found.append(np.unique(asked, axis=0))
            asked = asked | self.following(preference, asked)
        return np.concatenate(found) if found else np.zeros((0, self.cards), np.bool_)
