"""Predictions as the JSON of the answers, and the explanation that the page draws."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

from cards_deck.deck import Deck
from cards_deck.inference.predictor import Prediction
from cards_deck.spectrum import log_amplitude

Floats = npt.NDArray[np.float32]


def answers(deck: Deck, prediction: Prediction) -> list[dict[str, Any]]:
    """One answer per row; the cards are those with a weight above 0, heaviest first."""
    return [_answer(deck, prediction, row) for row in range(len(prediction.probabilities))]


def _answer(deck: Deck, prediction: Prediction, row: int) -> dict[str, Any]:
    label = int(prediction.labels[row])
    weights = prediction.weights[row]
    return {
        "label": deck.classes[label],
        "label_index": label,
        "probabilities": _named(deck.classes, prediction.probabilities[row]),
        "cards": [
            {
                "name": deck.cards[index].name,
                "augmentation": deck.cards[index].augmentation,
                "weight": round(float(weights[index]), 6),
            }
            for index in np.argsort(-weights, kind="stable").tolist()
            if weights[index] > 0
        ],
        "distances": _named(gated_augmentations(deck), prediction.distances[row]),
        "unknown_spectrum": bool(prediction.unknown[row]),
        "deck": {"name": deck.name, "version": deck.version},
    }


def gated_augmentations(deck: Deck) -> tuple[str, ...]:
    """The augmentations whose distance the deck's gate measures: none for the plain average."""
    return () if deck.gate.kind == "uniform" else deck.references.augmentations


def _named(names: tuple[str, ...], values: Floats) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in zip(names, values, strict=False)}


class Explainer:
    """Says why an image went where it went; the references' profiles are computed once."""

    def __init__(self, deck: Deck) -> None:
        self._deck = deck
        self._radius = _radii(deck.image_size)
        gated = bool(gated_augmentations(deck))
        self._unknown_beyond = deck.references.distance_at(deck.gate.unknown_quantile) if gated else None
        self._references = {
            name: _rounded(radial_profile(spectrum, self._radius))
            for name, spectrum in zip(deck.references.augmentations, deck.references.log_amplitude, strict=True)
        }

    def explain(self, image: npt.NDArray[np.uint8], answer: dict[str, Any]) -> dict[str, Any]:
        """A sentence with numbers, radial log-amplitude profiles by frequency (cycles per image), and the 2-D picture.

        `image` is uint8 [h, w, 3] of the deck's size. The picture is base64 of uint8 [h, w], zero frequency in
        the middle.
        """
        spectrum = log_amplitude(image[None])[0]
        return {
            "sentence": sentence(self._deck, answer),
            "frequencies": list(range(1, self._deck.image_size // 2 + 1)),
            "profile": _rounded(radial_profile(spectrum, self._radius)),
            "references": self._references,
            "unknown_beyond": self._unknown_beyond,
            "picture": base64.b64encode(_picture(spectrum).tobytes()).decode("ascii"),
            "size": self._deck.image_size,
        }


def sentence(deck: Deck, answer: dict[str, Any]) -> str:
    """Why these cards answered, in one sentence with the numbers it rests on."""
    cards = [f"{card['name']} ({card['weight']:.0%})" for card in answer["cards"]]
    who = cards[0] if len(cards) == 1 else f"{', '.join(cards[:-1])} and {cards[-1]}"
    share = answer["probabilities"][answer["label"]]
    said = f"{who} answered {answer['label']} with {share:.0%}"
    near = sorted(answer["distances"].items(), key=lambda item: item[1])
    if not near:
        return f"This deck averages its cards whatever the spectrum is: {said}."
    text = f"The spectrum is nearest to {near[0][0]} (distance {near[0][1]:.2f}"
    text += f"; {near[1][0]} is at {near[1][1]:.2f})" if len(near) > 1 else ")"
    if answer["unknown_spectrum"]:
        text += ", yet farther from it than nearly all training images"
    if len({card["augmentation"] for card in answer["cards"]}) > 1:
        text += ", and the two are too close to choose one"
    return f"{text}: {said}."


def radial_profile(spectrum: Floats, radius: npt.NDArray[np.int64]) -> Floats:
    """Mean log amplitude [h//2] of a half spectrum [h, h//2+1] on rings of radius 1 .. h//2 cycles per image."""
    rings = spectrum.shape[0] // 2
    mirrored = np.ones(spectrum.shape)
    mirrored[:, 1 : (spectrum.shape[0] + 1) // 2] = 2  # these columns stand for their mirror images too
    total = np.bincount(radius.ravel(), (spectrum * mirrored).ravel(), rings + 1)
    count = np.bincount(radius.ravel(), mirrored.ravel(), rings + 1)
    return (total[1 : rings + 1] / count[1 : rings + 1]).astype(np.float32)


def _radii(size: int) -> npt.NDArray[np.int64]:
    rows, columns = np.fft.fftfreq(size, 1 / size), np.fft.rfftfreq(size, 1 / size)
    return np.asarray(np.rint(np.hypot(rows[:, None], columns[None, :])), np.int64)


def _picture(spectrum: Floats) -> npt.NDArray[np.uint8]:
    """The whole plane of a half spectrum, scaled between its 1 % and 99 % quantiles (the mean would drown the rest)."""
    size = spectrum.shape[0]
    mirror = spectrum[(-np.arange(size)) % size][:, size - np.arange(spectrum.shape[1], size)]
    plane = np.fft.fftshift(np.concatenate([spectrum, mirror], axis=1))
    low, high = np.quantile(plane, [0.01, 0.99])
    return np.asarray(np.rint(np.clip((plane - low) / max(high - low, 1e-6), 0, 1) * 255), np.uint8)


def _rounded(values: Floats) -> list[float]:
    return [round(float(value), 4) for value in values]
