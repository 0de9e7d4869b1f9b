"""Deck + gate + engines: images in, probabilities out. The one path that is measured and served."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cards_deck.deck import Deck
from cards_deck.errors import InputError
from cards_deck.inference.engines import EngineKind, load_all
from cards_deck.inference.gates import Decision, Fixed, Gate, decide, gate_for, mean_distances
from cards_deck.inference.pooling import abstains, combine, softmax
from cards_deck.spectrum import Floats, Images, check_images, log_amplitude

__all__ = ["BATCH", "Prediction", "Predictor", "combine", "softmax"]

BATCH = 64  # images a card runs at a time: bounds memory, and larger ones are no faster on a CPU


@dataclass(frozen=True, eq=False)
class Prediction:
    """Every field has one row per image.

    `probabilities` float32 [n, c]; `weights` float32 [n, k] of the cards in the answer, rows sum to 1; `distances`
    float32 [n, a] to the references; `routed` float32 [n, a]: those that the gate routed by, the image's own or the
    mean of its window; `unknown` bool [n]: farther from all of them than the training images are; `choice` int64 [n]:
    nearest reference, -1 where the gate reads none; `preference` float32 [n, k]: what the spectrum says of each card;
    `first` bool [n, k]: cards named before any had answered; `sure` float32 [n]: how sure a cascade was of their
    calibrated answer, by its `SURE_BY`, -1 of other gates and where time was up before all had answered; `ran` bool
    [n, k]: cards that ran; `named` int64 [n, k]: index of the class that each of those named, -1 for other cards;
    `abstained` bool [n]: unknown, and no class is probable enough to be named; `in_time` bool [n]: no card that was
    wanted was left out for lack of time. Of a window `choice` and `preference` are those of its images together.
    """

    probabilities: Floats
    weights: Floats
    distances: Floats
    routed: Floats
    unknown: NDArray[np.bool_]
    choice: NDArray[np.int64]
    preference: Floats
    first: NDArray[np.bool_]
    sure: Floats
    ran: NDArray[np.bool_]
    named: NDArray[np.int64]
    abstained: NDArray[np.bool_]
    in_time: NDArray[np.bool_]

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 [n]: index of the most probable class."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)


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
        loaded = load_all(deck.cards, engine, image_size=deck.image_size, threads=threads)
        self.engines = tuple(kind for kind, _ in loaded)  # of each card: what AUTO took
        self._runners = [runner for _, runner in loaded]

    def predict(
        self,
        images: Images,
        *,
        weights: Floats | None = None,
        window: bool = False,
        seconds: float | None = None,
    ) -> Prediction:
        """Answer uint8 [n, h, h, 3] of the deck's size.

        Without a time limit an image's answer does not depend on the others in the batch (to 1e-5), unless `window`
        says that all of them share one shift: then they are routed together. With one, the clock is that of the whole
        batch: which cards run in time may depend on what else was asked. Raises InputError for other images.

        Args:
            images: of one request, or of several.
            weights: [k] or [n, k], rows sum to 1: replaces the gate, and its limit.
            window: the images share their shift, such as those of one camera.
            seconds: at least 0: start no further card after this time since the call, for all images together (None:
                the gate's own limit, if any); every image has at least the answer of one card.
        """
        start = time.monotonic()
        check_images(images, self.deck.image_size)
        if seconds is not None and not seconds >= 0:
            raise InputError(f"seconds must be a number of at least 0, or None for the gate's own limit, not {seconds}")
        limit = self.gate.config.seconds if seconds is None else seconds
        gate: Gate = self.gate if weights is None else Fixed(self.gate, self._checked(weights, len(images)))
        deadline = None if limit is None else start + limit
        together = window and weights is None and len(images) > 1
        spectra = log_amplitude(images)
        decision = decide(
            gate, spectra, lambda card, rows: self._run(card, images[rows]), deadline=deadline, window=together
        )
        return self._prediction(gate, decision, together)

    def _prediction(self, gate: Gate, decision: Decision, window: bool) -> Prediction:
        routing, first = decision.routing, decision.routing.weights > 0
        own, probabilities = routing.distances, combine(decision.logits, decision.weights)
        complete = (decision.ran >= first).all(axis=1)
        return Prediction(
            probabilities=probabilities,
            weights=decision.weights,
            distances=own,
            routed=np.broadcast_to(mean_distances(own), own.shape) if window else own,
            unknown=routing.unknown,
            choice=routing.choice,
            preference=routing.preference,
            first=first,
            sure=np.where(complete, gate.sureness(routing.weights, decision.logits), np.float32(-1)),
            ran=decision.ran,
            named=np.where(decision.ran, decision.logits.argmax(axis=2).T, -1),
            abstained=abstains(probabilities, routing.unknown, self.gate.config.abstain_below),
            in_time=decision.in_time,
        )

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
