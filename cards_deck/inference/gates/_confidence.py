"""How sure cards are of their answer, and the gates' threshold on that."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import BaseGate, Bools
from cards_deck.inference.gates._fit import spending_value
from cards_deck.inference.gates._observed import Observed
from cards_deck.inference.pooling import combine
from cards_deck.spectrum import Floats

G = TypeVar("G", bound=BaseGate)

THRESHOLDS = (*(round(0.3 + 0.05 * step, 2) for step in range(13)), 0.925, 0.95, 0.97, 0.98, 0.99, 0.995, 1.0)


def pooled(logits: Floats, weights: Floats, temperatures: Floats) -> Floats:
    """Probabilities float32 [n, c] of logits [k, n, c] at each card's temperature [k], mixed by weights [n, k]."""
    with np.errstate(all="ignore"):  # a hostile answer may be infinite: then it is not sure, and no more than that
        return combine(logits / temperatures[:, None, None], weights)


def unsure(probabilities: Floats, threshold: float) -> Bools:
    """bool [n]: no class reaches the threshold; also where the answer is not a number."""
    return np.asarray(~(probabilities.max(axis=1) >= threshold), np.bool_)


def spending_threshold(make: Callable[[GateConfig], G], config: GateConfig, observed: Observed, most_cards: float) -> G:
    """The gate with the threshold of `THRESHOLDS` that spends most of `most_cards` cards per image."""
    return spending_value(make, config, "threshold", THRESHOLDS, observed, most_cards)
