"""The card that the spectrum prefers, and second opinions from cards of other augmentations."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cards_deck.inference.gates._asking import AskingGate
from cards_deck.inference.gates._base import GATES, Bools, largest
from cards_deck.spectrum import Floats


@GATES.register("hedged_cascade")
@dataclass(frozen=True, eq=False)
class HedgedCascadeGate(AskingGate):
    """As `spectrum_cascade`, but whoever joins comes from an augmentation that has not answered yet, while there is
    one: cards of one augmentation err together where the spectrum is mistaken. Gives up some accuracy on average for a
    smaller loss in the worst case."""

    _akin: Floats = field(init=False, repr=False)  # [k, k] 1 where two cards were trained under the same augmentation

    def prepare(self) -> None:
        """Check the arrays, and see which cards are akin."""
        super().prepare()
        names = np.array(self.known.augmentations)
        object.__setattr__(self, "_akin", (names[:, None] == names).astype(np.float32))

    def following(self, preference: Floats, ran: Bools) -> Bools:
        """See `AskingGate`: the most preferred one of another augmentation, else the most preferred one left."""
        return self.joining(preference, ran, ~ran)

    def joining(self, preference: Floats, ran: Bools, left: Bools) -> Bools:
        """bool [n, k]: of the cards that are `left` [n, k], the most preferred one of another augmentation than those
        that `ran` [n, k], else the most preferred one."""
        fresh = left & ~(ran.astype(np.float32) @ self._akin > 0)
        allowed = np.where(fresh.any(axis=1, keepdims=True), fresh, left)
        return largest(np.where(allowed, preference, np.float32(-1)), 1)
