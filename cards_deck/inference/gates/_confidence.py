"""How sure cards are of their answer, and the gates' threshold on that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import BaseGate, Bools
from cards_deck.inference.gates._fit import spending, tried
from cards_deck.inference.gates._observed import Doubles, Observed
from cards_deck.inference.pooling import combine
from cards_deck.spectrum import Floats

G = TypeVar("G", bound=BaseGate)

THRESHOLDS = (*(round(0.3 + 0.025 * step, 3) for step in range(28)), 0.985, 0.99, 0.995, 1.0)


def pooled(logits: Floats, weights: Floats, temperatures: Floats) -> Floats:
    """Probabilities float32 [n, c] of logits [k, n, c] at each card's temperature [k], mixed by weights [n, k]."""
    with np.errstate(all="ignore"):  # a hostile answer may be infinite: then it is not sure, and no more than that
        return combine(logits / temperatures[:, None, None], weights)


def likeliest(probabilities: Floats) -> Floats:
    """float32 [n]: the largest probability of [n, c]."""
    return np.asarray(probabilities.max(axis=1), np.float32)


def lead(probabilities: Floats) -> Floats:
    """float32 [n]: how far the likeliest class of [n, c] is ahead of the next one, in probability; not a number where
    one of them is none."""
    if probabilities.shape[1] < 2:
        return likeliest(probabilities)
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0], np.float32)


SURENESS: Mapping[str, Callable[[Floats], Floats]] = {"probability": likeliest, "lead": lead}


def unsure(sureness: Floats, needed: Doubles) -> Bools:
    """bool [n]: the sureness [n] does not reach what is needed [n]; also where it is not a number."""
    return np.asarray(~(sureness >= needed.astype(np.float32)), np.bool_)


def spending_thresholds(
    make: Callable[[GateConfig], G], config: GateConfig, observed: Observed, budgets: Sequence[float]
) -> tuple[G, ...]:
    """For each budget of mean cards per image the gate with the threshold of `THRESHOLDS` that spends most of it."""
    found = tried(make, config, "threshold", THRESHOLDS, observed)
    return tuple(spending(found, most_cards) for most_cards in budgets)
