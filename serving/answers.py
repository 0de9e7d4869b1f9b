"""Predictions as the JSON of the answers, and the explanation that the page draws."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

from cards_deck.deck import Deck
from cards_deck.explaining import (
    plane,
    radial_profile,
    radii,
    reasons,
    running_order,
    sentence,
    shade,
)
from cards_deck.inference.predictor import Prediction
from cards_deck.spectrum import log_amplitude

Floats = npt.NDArray[np.float32]


def answers(deck: Deck, prediction: Prediction) -> list[dict[str, Any]]:
    """One answer per row; the cards are those that ran, heaviest first. The label is null where the deck abstains."""
    return [_answer(deck, prediction, row) for row in range(len(prediction.probabilities))]


def _answer(deck: Deck, prediction: Prediction, row: int) -> dict[str, Any]:
    label = None if prediction.abstained[row] else int(prediction.labels[row])
    weights = prediction.weights[row]
    return {
        "label": None if label is None else deck.classes[label],
        "label_index": label,
        "abstained": label is None,
        "probabilities": _named(deck.classes, prediction.probabilities[row]),
        "cards": [
            {
                "name": deck.cards[index].name,
                "augmentation": deck.cards[index].augmentation,
                "weight": round(float(weights[index]), 6),
            }
            for index in running_order(prediction, row)
        ],
        "distances": _named(deck.references.augmentations, prediction.distances[row]),
        "unknown_spectrum": bool(prediction.unknown[row]),
        "pooled_early": not prediction.in_time[row],
        "deck": {"name": deck.name, "version": deck.version},
    }


def because(deck: Deck, prediction: Prediction, row: int, *, window: int = 0) -> dict[str, Any]:
    """Why: a sentence with its numbers; `window` images were routed together."""
    why = reasons(deck, prediction, row, window=window)
    return {"sentence": sentence(why), "why": why.numbers()}


def _named(names: tuple[str, ...], values: Floats) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in zip(names, values, strict=False)}


class Explainer:
    """Says why an image went where it went; the references' profiles are computed once."""

    def __init__(self, deck: Deck) -> None:
        self._deck = deck
        self._radius = radii(deck.image_size)
        self._unknown_beyond = deck.references.distance_at(deck.gate.unknown_quantile)
        self._references = {
            name: _rounded(radial_profile(spectrum, self._radius))
            for name, spectrum in zip(deck.references.augmentations, deck.references.log_amplitude, strict=True)
        }

    def explain(self, image: npt.NDArray[np.uint8], prediction: Prediction) -> dict[str, Any]:
        """A sentence with numbers, radial log-amplitude profiles by frequency (cycles per image), and the 2-D picture.

        `image` is uint8 [h, w, 3] of the deck's size, `prediction` has one row, the image's. The picture is base64 of
        uint8 [h, w], zero frequency in the middle.
        """
        spectrum = log_amplitude(image[None])[0]
        return {
            **because(self._deck, prediction, 0),
            "frequencies": list(range(1, self._deck.image_size // 2 + 1)),
            "profile": _rounded(radial_profile(spectrum, self._radius)),
            "references": self._references,
            "unknown_beyond": self._unknown_beyond,
            "picture": base64.b64encode(shade(plane(spectrum)).tobytes()).decode("ascii"),
            "size": self._deck.image_size,
        }


def _rounded(values: Floats) -> list[float]:
    return [round(float(value), 4) for value in values]
