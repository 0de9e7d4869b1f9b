"""A gate on images without labels, in numbers."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cards_deck.deck import Deck
from cards_deck.inference.gates import CLEAN, Gate, Observed
from cards_deck.inference.pooling import abstains, combine
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import Images, log_amplitude

TIMED = 100  # images whose answers are timed one by one


@dataclass(frozen=True)
class Measured:
    """A gate on images that it was not fitted on: shares in [0, 1], mean cards per image, milliseconds per image.

    `agreement` of its labels with those of the plain average of all cards, on the images as they are;
    `agreement_augmented`: mean over the deck's augmentations of them, None where they could not be made. `choices`: by
    nearest reference, "none" where the gate reads none; `ran`: by card, of those that ran for any image: their sum is
    `cards_per_image`. `gate_ms` routes one image, `answer_ms` answers one.
    """

    images: int
    unknown: float
    abstained: float
    choices: Mapping[str, float]
    ran: Mapping[str, float]
    cards_per_image: float
    agreement: float
    agreement_augmented: float | None
    gate_ms: float
    answer_ms: float

    def as_dict(self) -> dict[str, Any]:
        """JSON values, rounded."""
        found = dataclasses.asdict(self)
        for shares in ("choices", "ran"):
            found[shares] = {name: round(share, 6) for name, share in getattr(self, shares).items()}
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in found.items()}


def measure(predictor: Predictor, gates: Sequence[Gate], observed: Observed, images: Images) -> list[Measured]:
    """What each gate does with observed rows, of which `images` are those as they are; the predictor's cards are timed
    on them."""
    times = _times(predictor, gates, images[:: max(1, len(images) // TIMED)])
    return [_one(predictor.deck, gate, observed, *found) for gate, found in zip(gates, times, strict=True)]


def _one(deck: Deck, gate: Gate, observed: Observed, gate_ms: float, answer_ms: float) -> Measured:
    decision = observed.decide(gate)
    probabilities = combine(decision.logits, decision.weights)
    agrees = probabilities.argmax(axis=1) == observed.labels
    plain = observed.cell == observed.names.index(CLEAN)
    others = [float(agrees[observed.cell == index].mean()) for index in range(len(observed.names)) if index]
    routing, names = decision.routing, (*deck.references.augmentations, "none")
    ran = decision.ran[plain].mean(axis=0).tolist()
    abstained = abstains(probabilities, routing.unknown, gate.config.abstain_below)
    return Measured(
        images=int(plain.sum()),
        unknown=float(routing.unknown[plain].mean()),
        abstained=float(abstained[plain].mean()),
        choices={names[c]: float((routing.choice[plain] == c).mean()) for c in np.unique(routing.choice[plain])},
        ran={card.name: share for card, share in zip(deck.cards, ran, strict=True) if share},
        cards_per_image=float(decision.ran[plain].sum(axis=1).mean()),
        agreement=float(agrees[plain].mean()),
        agreement_augmented=float(np.mean(others)) if others else None,
        gate_ms=gate_ms,
        answer_ms=answer_ms,
    )


def _times(predictor: Predictor, gates: Sequence[Gate], images: Images) -> list[tuple[float, float]]:
    """(routing, answering) of each gate, medians over single images; in turns, so that a busy machine slows all."""
    found: list[list[tuple[float, float]]] = [[] for _ in gates]
    own = predictor.gate
    predictor.predict(images[:1])
    try:
        for turn, image in enumerate(images):
            for place in range(len(gates))[:: 1 if turn % 2 else -1]:  # whoever comes second finds warm caches
                gate, times = gates[place], found[place]
                predictor.gate = gate
                start = time.perf_counter()
                gate.route(log_amplitude(image[None]))
                middle = time.perf_counter()
                predictor.predict(image[None])
                times.append((middle - start, time.perf_counter() - middle))
    finally:
        predictor.gate = own
    return [(1000 * float(np.median(t, axis=0)[0]), 1000 * float(np.median(t, axis=0)[1])) for t in found]
