"""The numbers that an answer rests on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from cards_deck.deck import Deck
from cards_deck.explaining.votes import Vote, votes
from cards_deck.explaining.widening import routed_unknown, widenings
from cards_deck.inference.gates import gate_for
from cards_deck.inference.predictor import Prediction

UNLEARNED = ("cascade", "spectral", "uniform")  # kinds whose preference for cards says no more than their routing


@dataclass(frozen=True)
class Reasons:
    """Why one image was answered as it was.

    `label`: the most probable class, `confidence` its probability; `cards`: name and weight of the cards that ran,
    heaviest first. Of the references, by distance: `nearest` and `second` with `distance` and `second_distance` (None:
    there is one reference); `tail`: share of the nearest augmentation's own training images that lie nearer to its
    reference; `margin`: how much farther the second is, relative to the nearest. `preferred`: the card that a learned
    gate takes the spectrum to speak for, and how much, for itself or for those that it is an average of, in a window
    the images together; `strange`: by how strange it is, and how strange clean images are, None where the gate does not
    go by that alone. `asked`: cards named before any had answered; `widened`: one of `WIDENED`, None where the cards
    are those that the spectrum named.
    `first_confidence`: how sure the first card's calibrated answer was, in `sure_by`, its "probability" or its "lead"
    over the next class; it had to reach `threshold` or the next card joined (all None: the gate did not ask by that;
    `threshold` alone: no answer of that card is ever sure enough).
    `window`: the number of images routed together, 0 for none; `together`: the reference nearest to its mean,
    `together_unknown`: that is farther from all than the training images are (without a window `nearest` and
    `unknown`). `averages`: the gate takes all cards, whatever the spectrum is. `votes`: what the weights come from
    where the gate weighs cards by the class that they name; `heard`: augmentations share the answer by what they said
    as well. `pooled_early`: time was up. `abstained`: no class is named, since `label` does not reach `needed`.
    """

    label: str
    confidence: float
    cards: tuple[tuple[str, float], ...]
    unknown: bool
    abstained: bool
    pooled_early: bool
    averages: bool
    nearest: str
    distance: float
    tail: float
    second: str | None
    second_distance: float | None
    margin: float | None
    together: str
    together_unknown: bool
    preferred: tuple[str, float] | None
    strange: tuple[float, float] | None
    asked: int
    widened: str | None
    first_confidence: float | None
    sure_by: str | None
    threshold: float | None
    unknown_share: float
    needed: float | None
    window: int
    votes: tuple[Vote, ...]
    heard: bool

    def numbers(self) -> dict[str, Any]:
        """The JSON values that the sentence says, rounded to 6 digits."""
        found = {
            "nearest": self.nearest,
            "distance": self.distance,
            "tail": self.tail,
            "margin": self.margin,
            "preferred": self.preferred[0] if self.preferred else None,
            "preference": self.preferred[1] if self.preferred else None,
            "strangeness": self.strange[0] if self.strange else None,
            "confidence": self.confidence,
            "asked": self.asked,
            "widened": self.widened,
            "first_confidence": self.first_confidence,
            "sure_by": self.sure_by,
            "threshold": self.threshold,
            "window": self.window,
            "heard": self.heard,
            "votes": [vote.as_dict() for vote in self.votes],
        }
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in found.items()}


def running_order(prediction: Prediction, row: int) -> list[int]:
    """Indices of the cards that ran for an image, heaviest first."""
    weights, ran = prediction.weights[row], prediction.ran[row]
    return [index for index in np.argsort(-weights, kind="stable").tolist() if ran[index]]


def reasons(deck: Deck, prediction: Prediction, row: int, *, window: int = 0) -> Reasons:
    """The reasons of one row of a prediction by the deck's own gate; `window` images were routed together (below 2:
    each by itself)."""
    label = int(prediction.labels[row])
    weights, one = prediction.weights[row], _one(prediction, row)
    return Reasons(
        label=deck.classes[label],
        confidence=float(prediction.probabilities[row, label]),
        cards=tuple((deck.cards[index].name, float(weights[index])) for index in running_order(prediction, row)),
        unknown=bool(prediction.unknown[row]),
        abstained=bool(prediction.abstained[row]),
        pooled_early=not prediction.in_time[row],
        averages=deck.gate.kind == "uniform",
        preferred=_preferred(deck, prediction, row),
        strange=gate_for(deck).strange(prediction.preference[row]),
        together=deck.references.augmentations[int(prediction.routed[row].argmin())],
        together_unknown=bool(routed_unknown(deck, one)[0]),
        asked=int(prediction.first[row].sum()),
        widened=widenings(deck, one)[0],
        unknown_share=deck.gate.unknown_quantile,
        needed=deck.gate.abstain_below,
        window=window if window > 1 else 0,
        votes=votes(deck, prediction, row),
        heard=_heard(deck, one),
        **_spectrum(deck, prediction, row),
        **_confidence(deck, prediction, row),
    )


def _one(prediction: Prediction, row: int) -> Prediction:
    fields = {field.name: getattr(prediction, field.name)[row : row + 1] for field in dataclasses.fields(prediction)}
    return Prediction(**fields)


def _heard(deck: Deck, one: Prediction) -> bool:
    return bool(gate_for(deck).hears(one.ran)[0] and one.in_time[0] and not routed_unknown(deck, one)[0])


def _spectrum(deck: Deck, prediction: Prediction, row: int) -> dict[str, Any]:
    names, distances = deck.references.augmentations, prediction.distances[row]
    order = np.argsort(distances, kind="stable").tolist()
    first = order[0]
    nearest = float(distances[first])
    second = float(distances[order[1]]) if len(order) > 1 else None
    return {
        "nearest": names[first],
        "distance": nearest,
        "tail": float(deck.references.calibrated(distances[None])[0, first]),
        "second": None if second is None else names[order[1]],
        "second_distance": second,
        "margin": None if second is None else (second - nearest) / max(nearest, 1e-12),
    }


def _confidence(deck: Deck, prediction: Prediction, row: int) -> dict[str, Any]:
    """By what a cascade went on or stopped; None where all cards were asked at once."""
    gate = gate_for(deck)
    sure, first = float(prediction.sure[row]), prediction.first[row]
    if not sure >= 0 or first.sum() != 1:
        return {"first_confidence": None, "sure_by": None, "threshold": None}
    threshold = float(gate.needed(first[None])[0])
    return {"first_confidence": sure, "sure_by": gate.SURE_BY, "threshold": threshold if threshold <= 1 else None}


def _preferred(deck: Deck, prediction: Prediction, row: int) -> tuple[str, float] | None:
    if deck.gate.kind in UNLEARNED:
        return None
    gate, preference = gate_for(deck), prediction.preference[row, None]
    card = int(gate.standing(preference)[0].argmax())
    return deck.cards[card].name, float(gate.speaking(preference)[0, card])
