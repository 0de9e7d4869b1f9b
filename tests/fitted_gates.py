"""The fake deck with a gate of any kind, fitted to the deck's own answers: nothing is learned, but everything runs."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from photos import blurred, noisy

from cards_deck.deck import Deck, GateConfig
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.fake_deck import fake_deck, fake_images
from cards_deck.inference.gates import GATES, Known, Observed, fit_gate
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import log_amplitude

KINDS = tuple(GATES.names())
COUNT = 60


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
    return dataclasses.replace(deck, gate=fit_gate(kind, observed, limits, Known.of(deck)).config)
