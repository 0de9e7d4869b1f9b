"""How the cards' votes are weighed where the gate trusts each by the class that it names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cards_deck.deck import Deck
from cards_deck.inference.gates.reliability import ReliabilityGate
from cards_deck.inference.predictor import Prediction


@dataclass(frozen=True)
class Vote:
    """A card's weight before all are divided by their sum: `share` * `reliability` ** `power`.

    `share`: what the spectrum gave it of all that ran, which have 1 together; `reliability`: how often it was right on
    validation images where it named the class that it `named` here.
    """

    card: str
    named: str
    share: float
    reliability: float
    power: float

    def as_dict(self) -> dict[str, Any]:
        """JSON values, rounded to 6 digits."""
        share, reliability, power = (round(value, 6) for value in (self.share, self.reliability, self.power))
        return {"card": self.card, "named": self.named, "share": share, "reliability": reliability, "power": power}


def votes(deck: Deck, prediction: Prediction, row: int) -> tuple[Vote, ...]:
    """The votes of one row of a prediction by the deck's own gate, heaviest weight first.

    Empty where nothing was weighed so: by gates of other kinds or of power 0, where one card ran, or time was up.
    """
    gate, ran = deck.gate, np.flatnonzero(prediction.ran[row])
    power = gate.parameters.get("power", ReliabilityGate.PARAMETERS["power"])
    if gate.kind != "reliability" or not power or not prediction.in_time[row] or len(ran) < 2:
        return ()
    weights, named = prediction.weights[row, ran].astype(np.float64), prediction.named[row, ran]
    reliability = gate.arrays["reliability"][ran, named].astype(np.float64)
    # The shares as they were, also of a window or an unknown image: what is left of the weights without reliability.
    before = weights / (reliability / reliability.min()) ** power
    shares = before / before.sum()
    return tuple(
        Vote(deck.cards[ran[i]].name, deck.classes[named[i]], float(shares[i]), float(reliability[i]), power)
        for i in np.argsort(-weights, kind="stable")
    )


def said(found: tuple[Vote, ...]) -> str:
    """What the sentence says of the cards' weights, with the numbers that they rest on; empty without votes."""
    if not found:
        return ""
    power = "" if found[0].power == 1 else f"^{found[0].power:g}"
    terms = [f"{vote.card} {vote.share:.0%} x {vote.reliability:.0%}{power} as it named {vote.named}" for vote in found]
    return (
        ", each weighed by the spectrum's share times how often it was right on validation images when it named its "
        f"class ({'; '.join(terms)}),"
    )
