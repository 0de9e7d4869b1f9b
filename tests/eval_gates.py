"""Gates fitted on a fake deck's answers to a few images."""

from __future__ import annotations

import numpy as np

from cards_deck.deck import Deck
from cards_deck.gate_config import GateConfig
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.gates import Known, Observed, fit_gate
from cards_deck.inference.gates._base import BaseGate
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import Images, log_amplitude


def fitted_gate(deck: Deck, images: Images, kind: str) -> BaseGate:
    """A gate of this kind; each card is right on some of the images [n, h, h, 3], every other of which is "noise"."""
    predictor, count = Predictor(deck, engine=EngineKind.TORCH), len(images)
    logits = 8 * np.stack([predictor.card_logits(images, card) for card in range(len(deck.cards))])
    labels = logits[np.arange(count) % len(deck.cards), np.arange(count)].argmax(axis=1)
    observed = Observed(log_amplitude(images), logits, labels, np.arange(count) % 2, ("clean", "noise"))
    gate = fit_gate(kind, observed, GateConfig(), Known.of(deck))
    assert isinstance(gate, BaseGate)
    return gate


def with_threshold(gate: BaseGate, value: float) -> BaseGate:
    """The gate with another threshold on confidence, and temperatures of 1."""
    arrays = {**gate.config.arrays, "temperatures": np.ones(gate.cards, np.float32)}
    config = GateConfig(gate.config.kind, arrays=arrays, parameters={"threshold": value})
    return type(gate)(config, gate.known)
