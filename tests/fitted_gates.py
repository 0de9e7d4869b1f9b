"""The fake deck with a gate of any kind, fitted to the deck's own answers: little is learned, but everything runs."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from photos import blurred, noisy

from cards_deck.deck import Deck
from cards_deck.gate_config import GateConfig
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.gates import GATES, Known, Observed, fit_gate
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import log_amplitude

KINDS = tuple(GATES.names())
STRANGE = ("guarded_cascade", "refereed_cascade")  # kinds that go by how strange an image is
COUNT = 60


def with_a_referee(config: GateConfig, trust: float = 0.75) -> GateConfig:
    """A gate that believes anyone by anything, if it is of a kind that hears its cards: of fake cards none disagree."""
    if config.kind != "refereed_cascade":
        return config
    belief = np.random.default_rng(7).normal(0, 2, config.arrays["belief"].shape).astype(np.float32)
    arrays, parameters = {**config.arrays, "belief": belief}, {**config.parameters, "trust": trust}
    return dataclasses.replace(config, arrays=arrays, parameters=parameters)


@functools.lru_cache
def fitted_deck(kind: str, max_cards: int = 3, unknown_quantile: float = 0.995) -> Deck:
    """The fake deck with a fitted gate of this kind."""
    deck, clean = fake_deck(), fake_images(COUNT, seed=9)
    images = np.concatenate([clean, noisy(clean, 26), blurred(clean)])
    predictor = Predictor(deck, engine=EngineKind.FAKE)
    logits = np.stack([predictor.card_logits(images, card) for card in range(len(deck.cards))])
    labels = (logits.mean(axis=0) + np.random.default_rng(0).normal(0, 0.3, logits.shape[1:])).argmax(axis=1)
    cell = np.repeat(np.arange(3), COUNT)
    observed = Observed(log_amplitude(images), logits, labels.astype(np.int64), cell, ("clean", "noise", "blur"))
    limits = GateConfig(max_cards=max_cards, unknown_quantile=unknown_quantile)
    fitted = fit_gate(kind, observed, limits, Known.of(deck)).config
    return dataclasses.replace(deck, gate=with_a_referee(fitted))
