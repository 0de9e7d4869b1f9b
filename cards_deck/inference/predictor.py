"""Deck + gate + engines: images in, probabilities out. The one path that is measured and served."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cards_deck.deck import Deck
from cards_deck.errors import InputError
from cards_deck.inference.engines import EngineKind, load_chosen
from cards_deck.inference.gate import Gate, Routing, gate_for
from cards_deck.spectrum import Floats, Images, check_images

BATCH = 64  # images a card runs at a time: bounds memory, and larger ones are no faster on a CPU


@dataclass(frozen=True, eq=False)
class Prediction:
    """Rows are images. `probabilities` float32 [n, c], `weights` float32 [n, k] of the cards that answered,
    `distances` float32 [n, a] to the references, `unknown` bool [n], `choice` int64 [n] (-1: the gate chose none)."""

    probabilities: Floats
    weights: Floats
    distances: Floats
    unknown: NDArray[np.bool_]
    choice: NDArray[np.int64]

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 [n]: index of the most probable class."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)


def softmax(logits: Floats) -> Floats:
    """Probabilities over the last axis, float32."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), np.float32)


def combine(logits: Floats, weights: Floats) -> Floats:
    """Probabilities float32 [n, c] from logits [k, n, c] and weights [n, k]: softmax per card, weighted sum.

    Logits of a card whose weight is zero are not looked at, so they may hold anything.
    """
    if logits.ndim != 3 or weights.shape != (logits.shape[1], logits.shape[0]):
        raise InputError(f"combine needs logits [k, n, c] and weights [n, k], not {logits.shape} and {weights.shape}")
    answer = np.zeros(logits.shape[1:], np.float32)
    for card, column in zip(logits, weights.T, strict=True):
        rows = column > 0
        answer[rows] += column[rows, None] * softmax(card[rows])
    return answer


class Predictor:
    """Answers images with a deck. Loads every card at once, so that no request waits for it.

    `gate` None means the deck's own; `threads` is the number of threads of each card's engine.
    """

    def __init__(
        self,
        deck: Deck,
        *,
        gate: Gate | None = None,
        engine: EngineKind = EngineKind.AUTO,
        threads: int = 1,
    ) -> None:
        self.deck = deck
        self.gate = gate_for(deck) if gate is None else gate
        loaded = [load_chosen(card, engine, image_size=deck.image_size, threads=threads) for card in deck.cards]
        self.engines = tuple(kind for kind, _ in loaded)  # of each card: what AUTO took
        self._runners = [runner for _, runner in loaded]

    def predict(self, images: Images, *, weights: Floats | None = None) -> Prediction:
        """Answer uint8 [n, h, h, 3] of the deck's size. `weights` [k] or [n, k] replace the gate's; rows sum to 1.

        An image's answer does not depend on the others in the batch (to 1e-5). Raises InputError for other images.
        """
        check_images(images, self.deck.image_size)
        routing = self.gate.route(images)
        if weights is not None:
            chosen = self._checked(weights, len(images))
            routing = Routing(chosen, routing.distances, routing.unknown, routing.choice)
        logits = np.zeros((len(self._runners), len(images), len(self.deck.classes)), np.float32)
        for card in range(len(self._runners)):
            rows = np.flatnonzero(routing.weights[:, card])
            if len(rows):
                logits[card, rows] = self._run(card, images[rows])
        probabilities = combine(logits, routing.weights)
        return Prediction(probabilities, routing.weights, routing.distances, routing.unknown, routing.choice)

    def card_logits(self, images: Images, card: int) -> Floats:
        """Logits float32 [n, c] of one card, by its index in the deck, on all the images."""
        check_images(images, self.deck.image_size)
        if not 0 <= card < len(self._runners):
            raise InputError(f"card must be 0 to {len(self._runners) - 1}, not {card!r}")
        return self._run(card, images)

    def _run(self, card: int, images: Images) -> Floats:
        answers = np.empty((len(images), len(self.deck.classes)), np.float32)
        for start in range(0, len(images), BATCH):
            answers[start : start + BATCH] = self._runners[card](images[start : start + BATCH])
        return answers

    def _checked(self, weights: Floats, count: int) -> Floats:
        given = np.asarray(weights, np.float32)
        shape = (count, len(self._runners))
        if given.shape not in (shape, shape[1:]):
            raise InputError(f"weights must have shape {list(shape[1:])} or {list(shape)}, not {list(given.shape)}")
        sums = given.sum(axis=-1)
        if not np.isfinite(given).all() or (given < 0).any() or (np.abs(sums - 1) > 1e-4).any():
            raise InputError("weights must be at least 0, and each row must sum to 1")
        return np.broadcast_to(given, shape).copy()
