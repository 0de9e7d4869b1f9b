"""A cascade for a spectrum that may be wrong: cards answer for all others only where that is known to lose little."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import InputError
from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import GATES, Bools, Known, largest
from cards_deck.inference.gates._fit import spending, tried
from cards_deck.inference.gates._likelihood import fit_linear, worst_temperatures
from cards_deck.inference.gates._observed import Doubles, Observed, read
from cards_deck.inference.gates._risk import NEVER, RISKS, sure_enough
from cards_deck.inference.gates.hedged_cascade import HedgedCascadeGate
from cards_deck.spectrum import Floats

MOST_SETS = 500  # of cards that are judged whether a spectrum names them or not


@GATES.register("guarded_cascade")
@dataclass(frozen=True, eq=False)
class GuardedCascadeGate(HedgedCascadeGate):
    """The preferred card answers alone; others join one by one until those that ran are sure enough, up to `max_cards`.

    Sure enough: were all images of any one validation cell asked of just these cards, answers so sure would lose there
    no more than `risk` against the plain average of all. What the spectra of the cell say plays no part in it, so that
    a card that a spectrum names by mistake, under a shift that the card does not know, is seldom believed alone. The
    gate as a whole may lose more than the risk: what its sets of cards lose adds up, and a spectrum picks the images.

    Who joins is no average of others while there are others, and comes from an augmentation that has not answered yet
    while there is one: cards of one augmentation err together.

    `sets` [s, k]: 0 or 1, cards that may have run together; `enough` [r, s]: from how sure on they are, for each of
    `risks` [r], rising, of which the largest counts that is no more than `risk`. Cards that are none of the sets are
    never sure enough, such as more of them than the gate was fitted for.
    """

    PARAMETERS: ClassVar[Mapping[str, float]] = {"risk": 0.005}
    ARRAYS: ClassVar[tuple[str, ...]] = ("weights", "bias", "temperatures", "sets", "risks", "enough")

    _averages: Bools = field(init=False, repr=False)  # [k]
    _codes: NDArray[Any] = field(init=False, repr=False)  # [s] of the sets, sorted
    _enough: Doubles = field(init=False, repr=False)  # [s] in this order, at this risk

    def prepare(self) -> None:
        """Check the arrays, and make tables."""
        super().prepare()
        sets, risks = self.array("sets", -1, self.cards), self.array("risks", -1)
        enough = self.array("enough", len(risks), len(sets))
        codes = _codes(sets > 0)
        if not np.isin(sets, (0, 1)).all() or not sets.any(axis=1).all() or len(np.unique(codes)) < len(codes):
            raise InputError("the gate's sets of cards must be 0 or 1, each with a card, and no two alike")
        if not len(risks) or risks[0] != 0 or (np.diff(risks) <= 0).any():
            raise InputError("the gate's risks must rise from 0")
        if ((enough < 0) | (enough > NEVER)).any() or (np.diff(enough, axis=0) > 0).any():
            raise InputError(f"what is enough for the gate must be from 0 to {NEVER:g}, and less at a higher risk")
        order = np.argsort(codes)
        averages = np.ones(self.cards, np.bool_)
        averages[list(self.known.originals)] = False
        allowed = int(np.searchsorted(risks, np.float32(self.parameter("risk")), side="right")) - 1
        object.__setattr__(self, "_averages", averages)
        object.__setattr__(self, "_codes", codes[order])
        object.__setattr__(self, "_enough", enough[allowed, order].astype(np.float64))

    def following(self, preference: Floats, ran: Bools) -> Bools:
        """See `AskingGate`: of those that are no averages while there are any, who joins a `hedged_cascade`."""
        left = ~ran & ~self._averages
        return self.joining(preference, ran, np.where(left.any(axis=1, keepdims=True), left, ~ran))

    def needed(self, ran: Bools) -> Doubles:
        """See `Gate`: of just these cards."""
        if not len(self._codes):
            return np.full(len(ran), NEVER)
        codes = _codes(ran)
        place = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        return np.where(self._codes[place] == codes, self._enough[place], NEVER)

    @classmethod
    def fit(
        cls, observed: Observed, config: GateConfig, known: Known, *, budgets: Sequence[float] = (2.0,)
    ) -> tuple[Self, ...]:
        """Preference by its likelihood, each card's temperature from the cell where it is too sure the most, then what
        is sure enough of every set of cards, or of those that the rows' spectra name where that are too many; then the
        risk that spends each budget."""
        weights, bias = fit_linear(observed)
        arrays = {
            "weights": weights, "bias": bias, "temperatures": worst_temperatures(observed),
            "sets": np.zeros((0, len(bias)), np.float32), "risks": np.array(RISKS, np.float32),
            "enough": np.zeros((len(RISKS), 0), np.float32),
        }  # fmt: skip
        bare = cls(dataclasses.replace(config, parameters={}, arrays=arrays), known)
        sets = bare.possible_sets()
        if sets is None:
            sets = bare.named_sets(read(bare, observed).preference)
        enough = sure_enough(observed, known, sets, arrays["temperatures"])
        arrays |= {"sets": sets.astype(np.float32), "enough": enough}
        fitted = dataclasses.replace(config, parameters={}, arrays=arrays)
        found = tried(lambda config: cls(config, known), fitted, "risk", RISKS, observed)
        return tuple(spending(found, most_cards) for most_cards in budgets)

    @property
    def _last(self) -> int:
        """The most cards after which another one can be asked, at least one: limits may rise after the fit."""
        return max(min(self.limit, self.cards) - 1, 1)

    def possible_sets(self) -> Bools | None:
        """bool [s, k]: all sets of cards after which another can be asked, which hold at most one average while there
        are other cards left; None where these are more than `MOST_SETS`."""
        originals, averages = np.flatnonzero(~self._averages).tolist(), np.flatnonzero(self._averages).tolist()
        sizes = range(1, self._last + 1)
        count = sum(math.comb(len(originals), n) + len(averages) * math.comb(len(originals), n - 1) for n in sizes)
        if count > MOST_SETS:
            return None
        chosen = [
            (*first, *others)
            for n in sizes
            for first in [(), *((card,) for card in averages)]
            for others in itertools.combinations(originals, n - len(first))
        ]
        found = np.zeros((len(chosen), self.cards), np.bool_)
        for row, cards in enumerate(chosen):
            found[row, list(cards)] = True
        return found

    def named_sets(self, preference: Floats) -> Bools:
        """bool [s, k]: the sets of cards that run before another one is asked, for some row of preferences [n, k]."""
        asked, found = largest(preference, 1), []
        for _ in range(self._last):
            found.append(np.unique(asked, axis=0))
            asked = asked | self.following(preference, asked)
        return np.concatenate(found)


def _codes(sets: Bools) -> NDArray[Any]:
    """[s]: one value for each set of cards [s, k], the same for the same cards."""
    packed = np.ascontiguousarray(np.packbits(sets, axis=1))
    return packed.view(f"S{packed.shape[1]}")[:, 0]
