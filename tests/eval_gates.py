"""Gates fitted on a fake deck's answers to a few images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from fitted_gates import with_a_referee

from cards_deck.deck import Deck
from cards_deck.gate_config import GateConfig
from cards_deck.inference.engines import EngineKind
from cards_deck.inference.gates import Known, Observed, fit_gate
from cards_deck.inference.gates._base import BaseGate
from cards_deck.inference.gates.guarded_cascade import GuardedCascadeGate
from cards_deck.inference.predictor import Predictor
from cards_deck.spectrum import Floats, Images, log_amplitude


def fitted_gate(deck: Deck, images: Images, kind: str) -> BaseGate:
    """A gate of this kind; each card is right on some of the images [n, h, h, 3], every other of which is "noise"."""
    predictor, count = Predictor(deck, engine=EngineKind.TORCH), len(images)
    logits = 8 * np.stack([predictor.card_logits(images, card) for card in range(len(deck.cards))])
    labels = logits[np.arange(count) % len(deck.cards), np.arange(count)].argmax(axis=1)
    observed = Observed(log_amplitude(images), logits, labels, np.arange(count) % 2, ("clean", "noise"))
    gate = fit_gate(kind, observed, GateConfig(), Known.of(deck))
    assert isinstance(gate, BaseGate)
    return gate


def gentle(gate: BaseGate, spectra: Floats, enough: float | None = None) -> BaseGate:
    """A cascade that goes by strangeness, with a trust of 0.75: it prefers the first augmentation in ordinary spectra,
    the last in strange ones, and none in the middle of these [n, h, h//2+1]; `enough`: a threshold for every set of
    cards, at temperatures of 1."""
    assert isinstance(gate, GuardedCascadeGate)
    strange = gate.features(spectra)[:, 0]
    names = sorted({gate.known.augmentations[card] for card in gate.known.originals})
    tilt = np.linspace(-1, 1, len(names)) / strange.std()
    weights, bias = np.zeros((1, gate.cards), np.float32), np.zeros(gate.cards, np.float32)
    for card in gate.known.originals:
        name = gate.known.augmentations[card]
        slope = tilt[names.index(name)]
        alike = sum(gate.known.augmentations[other] == name for other in gate.known.originals)
        weights[0, card], bias[card] = slope, -slope * np.median(strange) - np.log(alike)
    arrays = {**gate.config.arrays, "weights": weights, "bias": bias}
    if enough is not None:
        arrays |= {
            "temperatures": np.ones(gate.cards, np.float32), "enough": np.full_like(arrays["enough"], enough),
        }  # fmt: skip
    config = replace(gate.config, arrays=arrays, parameters={**gate.config.parameters, "trust": 0.75})
    config = with_a_referee(config)
    return type(gate)(config, gate.known)


def with_threshold(gate: BaseGate, value: float) -> BaseGate:
    """The gate with another threshold on confidence, and temperatures of 1."""
    arrays = {**gate.config.arrays, "temperatures": np.ones(gate.cards, np.float32)}
    config = GateConfig(gate.config.kind, arrays=arrays, parameters={"threshold": value})
    return type(gate)(config, gate.known)
