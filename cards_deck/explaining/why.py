"""The numbers that an answer rests on, and the sentence that says them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck.deck import Deck
from cards_deck.explaining.votes import Vote, said, votes
from cards_deck.inference.gates import Reading, gate_for
from cards_deck.inference.predictor import Prediction

UNLEARNED = ("cascade", "spectral", "uniform")  # kinds whose preference for cards says no more than their routing
WIDENED = ("close_spectra", "low_confidence", "unknown_spectrum")


@dataclass(frozen=True)
class Reasons:
    """Why one image was answered as it was.

    `label`: the most probable class, `confidence` its probability; `cards`: name and weight of the cards that ran,
    heaviest first. Of the references, by distance: `nearest` and `second` with `distance` and `second_distance` (None:
    there is one reference); `tail`: share of the nearest augmentation's own training images that lie nearer to its
    reference; `margin`: how much farther the second is, relative to the nearest. `preferred`: the card that a learned
    gate takes the spectrum to speak for, and how much. `widened`: one of `WIDENED`, None where the cards are those that
    the spectrum named. `chosen`: the augmentation routed to (None: the gate chooses cards by themselves), which only a
    `window` (the number of images routed together, 0 for none) makes another than the nearest.
    `averages`: the gate takes all cards, whatever the spectrum is. `votes`: what the weights come from where the gate
    weighs cards by the class that they name. `pooled_early`: time was up. `abstained`: no class is named, since `label`
    does not reach `needed`.
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
    chosen: str | None
    preferred: tuple[str, float] | None
    widened: str | None
    unknown_share: float
    needed: float | None
    window: int
    votes: tuple[Vote, ...]

    def numbers(self) -> dict[str, Any]:
        """The JSON values that the sentence says, rounded to 6 digits."""
        found = {
            "nearest": self.nearest,
            "distance": self.distance,
            "tail": self.tail,
            "margin": self.margin,
            "preferred": self.preferred[0] if self.preferred else None,
            "preference": self.preferred[1] if self.preferred else None,
            "confidence": self.confidence,
            "widened": self.widened,
            "window": self.window,
            "votes": [vote.as_dict() for vote in self.votes],
        }
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in found.items()}


def running_order(prediction: Prediction, row: int) -> list[int]:
    """Indices of the cards that ran for an image, heaviest first."""
    weights, ran = prediction.weights[row], prediction.ran[row]
    return [index for index in np.argsort(-weights, kind="stable").tolist() if ran[index]]


def reasons(deck: Deck, prediction: Prediction, row: int, *, window: int = 0) -> Reasons:
    """The reasons of one row of a prediction by the deck's own gate; `window` images were routed together."""
    label = int(prediction.labels[row])
    weights = prediction.weights[row]
    return Reasons(
        label=deck.classes[label],
        confidence=float(prediction.probabilities[row, label]),
        cards=tuple((deck.cards[index].name, float(weights[index])) for index in running_order(prediction, row)),
        unknown=bool(prediction.unknown[row]),
        abstained=bool(prediction.abstained[row]),
        pooled_early=not prediction.in_time[row],
        averages=deck.gate.kind == "uniform",
        preferred=_preferred(deck, prediction, row),
        widened=widenings(deck, _one(prediction, row))[0],
        unknown_share=deck.gate.unknown_quantile,
        needed=deck.gate.abstain_below,
        window=window,
        votes=votes(deck, prediction, row),
        **_spectrum(deck, prediction, row),
    )


def _one(prediction: Prediction, row: int) -> Prediction:
    fields = {field.name: getattr(prediction, field.name)[row : row + 1] for field in dataclasses.fields(prediction)}
    return Prediction(**fields)


def _spectrum(deck: Deck, prediction: Prediction, row: int) -> dict[str, Any]:
    names, distances = deck.references.augmentations, prediction.distances[row]
    order = np.argsort(distances, kind="stable").tolist()
    first, choice = order[0], int(prediction.choice[row])
    nearest = float(distances[first])
    second = float(distances[order[1]]) if len(order) > 1 else None
    return {
        "nearest": names[first],
        "distance": nearest,
        "tail": float(deck.references.calibrated(distances[None])[0, first]),
        "second": None if second is None else names[order[1]],
        "second_distance": second,
        "margin": None if second is None else (second - nearest) / max(nearest, 1e-12),
        "chosen": names[choice] if choice >= 0 else None,
    }


def _preferred(deck: Deck, prediction: Prediction, row: int) -> tuple[str, float] | None:
    if deck.gate.kind in UNLEARNED:
        return None
    card = int(prediction.preference[row].argmax())
    return deck.cards[card].name, float(prediction.preference[row, card])


def widenings(deck: Deck, prediction: Prediction) -> tuple[str | None, ...]:
    """For each row of a prediction by the deck's own gate, one of `WIDENED`: why more cards ran than the nearest
    spectrum alone would have named. None where no more did, as where a gate asks as many for spectra that it knows."""
    ran, several = prediction.ran, prediction.ran.sum(axis=1) > 1
    found: list[str | None] = [None] * len(ran)
    if deck.gate.kind == "uniform":
        return tuple(found)
    beyond = _asked_for_unknown(deck, prediction)
    for row in np.flatnonzero(several).tolist():
        if beyond[row]:
            found[row] = "unknown_spectrum"
        elif (ran[row] & ~prediction.first[row]).any():
            found[row] = "low_confidence"
        elif deck.gate.kind == "spectral":
            augmentations = {deck.cards[index].augmentation for index in np.flatnonzero(ran[row])}
            found[row] = "close_spectra" if len(augmentations) > 1 else None
    return tuple(found)


def _asked_for_unknown(deck: Deck, prediction: Prediction) -> NDArray[np.bool_]:
    """bool [n]: more cards were first asked than would have been, had the same spectrum been known."""
    found = np.zeros(len(prediction.ran), np.bool_)
    rows = np.flatnonzero(prediction.unknown & (prediction.ran.sum(axis=1) > 1))
    if len(rows):
        distances = prediction.distances[rows]
        far = deck.references.distance_at(deck.gate.unknown_quantile)
        near = distances * (far / 2 / np.maximum(distances.min(axis=1, keepdims=True), 1e-12))  # the same margins
        known = gate_for(deck).choose(Reading(near.astype(np.float32), prediction.preference[rows]))
        found[rows] = prediction.first[rows].sum(axis=1) > (known.weights > 0).sum(axis=1)
    return found


def sentence(why: Reasons) -> str:
    """Why these cards answered, in one sentence with the numbers it rests on."""
    text = f"The spectrum is nearest to {why.nearest} ({_distances(why)})"
    if why.preferred is not None:
        text += f" and speaks for {why.preferred[0]} with {why.preferred[1]:.0%}"
    if why.averages:
        text += ", but this deck averages its cards whatever the spectrum is"
    if why.window and not why.averages:
        shared = f", as those of the {why.window} images of this request are on average"
        other = why.chosen not in (why.nearest, None)
        text += shared if not other else f", but the request's mean is nearest to {why.chosen}"
    if why.unknown:
        text += f", yet farther from every reference than {why.unknown_share:.1%} of the training images"
    if why.widened == "low_confidence":
        text += ", and the first answer was not sure enough"
    elif why.widened == "close_spectra":
        text += ", and the two are too close to choose one"
    return f"{text}: {_answer(why)}."


def _distances(why: Reasons) -> str:
    text = f"distance {why.distance:.2f}, {farther(why.tail)}"
    return f"{text}; {why.second} is at {why.second_distance:.2f}" if why.second is not None else text


def farther(tail: float) -> str:
    """The calibrated distance in words."""
    share = "all" if tail >= 1 else ">99%" if tail > 0.995 else f"{tail:.0%}"
    return f"farther than {share} of its training images"


def _answer(why: Reasons) -> str:
    who = _listed([f"{name} ({weight:.0%})" for name, weight in why.cards])
    text = f"{who}{said(why.votes)} answered {why.label} with {why.confidence:.0%}"
    if why.abstained:
        text += f", too little for an unknown spectrum, which needs {why.needed:.0%}, so no class is named"
    return f"{text}; time was up before the other cards" if why.pooled_early else text


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
