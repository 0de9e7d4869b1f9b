"""A guarded cascade that hears its cards before it weighs them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import GATES, Bools, Known
from cards_deck.inference.gates._observed import Observed
from cards_deck.inference.gates._profile import linear, normalised, product
from cards_deck.inference.gates._referee import SEEN, answers, evidence, fit_referee
from cards_deck.inference.gates.guarded_cascade import GuardedCascadeGate
from cards_deck.spectrum import Floats


@GATES.register("refereed_cascade")
@dataclass(frozen=True, eq=False)
class RefereedCascadeGate(GuardedCascadeGate):
    """As `guarded_cascade`, who is asked and when cards are sure enough; but where several augmentations have answered,
    the part of the answer that goes by preference (`trust`) goes by what they said as well: how undecided each is, and
    how probable its class is to the others (`_referee`). A shift that the spectrum does not show is seen in how sure
    those are that know it. Where time is up before a card that was wanted, the preference alone decides.

    What is not learned, since not all augmentations can answer one image or they hardly ever disagree, is as in
    `guarded_cascade`.
    """

    ARRAYS: ClassVar[tuple[str, ...]] = (*GuardedCascadeGate.ARRAYS, "typical", "belief", "belief_bias")

    def prepare(self) -> None:
        """Check the arrays, and make tables."""
        super().prepare()
        count = self.under.shape[1]
        self.array("typical", SEEN * count)
        self.array("belief", SEEN * count, count)
        self.array("belief_bias", count)

    def hears(self, ran: Bools) -> Bools:
        """See `BaseGate`: where several cards have answered, of several augmentations."""
        several = np.asarray((ran.sum(axis=1) > 1) & (self.parameter("trust") > 0), np.bool_)
        if several.any():
            several &= (product(ran.astype(np.float32), self.under) > 0).sum(axis=1) > 1
        return several

    def hearing(self, preference: Floats, logits: Floats, ran: Bools) -> Floats:
        """See `AskingGate`: each augmentation in part as it is believed."""
        arrays = self.config.arrays
        seen = evidence(product(preference, self.under), *answers(logits, ran, self.under))
        seen = np.where(np.isfinite(seen), seen, arrays["typical"])
        return self.trusting(normalised(linear(seen, arrays["belief"], arrays["belief_bias"])), ran)

    @classmethod
    def fit(
        cls, observed: Observed, config: GateConfig, known: Known, *, budgets: Sequence[float] = (2.0,)
    ) -> tuple[Self, ...]:
        """As `guarded_cascade`; then whom to believe, on the rows that each of these asks several cards about, and by
        the cards that it ends with there."""
        guarded = GuardedCascadeGate.fit(observed, config.with_kind("guarded_cascade"), known, budgets=budgets)
        return tuple(cls.refereeing(gate, observed, config) for gate in guarded)

    @classmethod
    def refereeing(cls, gate: GuardedCascadeGate, observed: Observed, config: GateConfig) -> Self:
        """What the gate's cards say on these rows, with a referee of this kind."""
        done = observed.decide(gate)
        rows = (done.ran.sum(axis=1) > 1) & ~done.routing.unknown
        preferred = product(done.routing.preference[rows], gate.under)
        means, there = answers(observed.logits[:, rows], done.ran[rows], gate.under)
        fitted = fit_referee(preferred, means, there, observed.labels[rows], observed.share[rows])
        arrays = {**gate.config.arrays, **dict(zip(("typical", "belief", "belief_bias"), fitted, strict=True))}
        return cls(dataclasses.replace(config, parameters=gate.config.parameters, arrays=arrays), gate.known)
