"""Why more cards ran for an image than its spectrum alone would have named."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cards_deck.deck import Deck
from cards_deck.inference.gates import Reading, gate_for
from cards_deck.inference.predictor import Prediction

WIDENED = ("close_spectra", "low_confidence", "unknown_spectrum")


def widenings(deck: Deck, prediction: Prediction) -> tuple[str | None, ...]:
    """For each row of a prediction by the deck's own gate, one of `WIDENED`: why more cards ran than the nearest
    spectrum alone would have named, in a window the one that is nearest to its mean. None where no more did, as where a
    gate asks as many for spectra that it knows."""
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


def routed_unknown(deck: Deck, prediction: Prediction) -> NDArray[np.bool_]:
    """bool [n]: what the gate routed by, the image's own spectrum or its window's, was farther from every reference
    than the training images are."""
    far = np.float64(deck.references.distance_at(deck.gate.unknown_quantile))
    return np.asarray(prediction.routed.min(axis=1) > far, np.bool_)


def _asked_for_unknown(deck: Deck, prediction: Prediction) -> NDArray[np.bool_]:
    """bool [n]: more cards were first asked than would have been, had the same spectrum been known."""
    found = np.zeros(len(prediction.ran), np.bool_)
    rows = np.flatnonzero(routed_unknown(deck, prediction) & (prediction.ran.sum(axis=1) > 1))
    if len(rows):
        distances = prediction.routed[rows]
        far = deck.references.distance_at(deck.gate.unknown_quantile)
        near = distances * (far / 2 / np.maximum(distances.min(axis=1, keepdims=True), 1e-12))  # the same margins
        known = gate_for(deck).choose(Reading(near.astype(np.float32), prediction.preference[rows]))
        found[rows] = prediction.first[rows].sum(axis=1) > (known.weights > 0).sum(axis=1)
    return found
