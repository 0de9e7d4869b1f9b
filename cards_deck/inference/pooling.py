"""Logits of several cards -> one answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import InputError
from cards_deck.spectrum import Floats


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
    used = weights > 0
    for card in np.flatnonzero(used.any(axis=0)).tolist():
        rows = used[:, card]
        if rows.all():  # no copies: most of the time of a single image
            answer += weights[:, card, None] * softmax(logits[card])
        else:
            answer[rows] += weights[rows, card, None] * softmax(logits[card, rows])
    return answer


def abstains(probabilities: Floats, unknown: NDArray[np.bool_], below: float | None) -> NDArray[np.bool_]:
    """bool [n]: the spectrum is unknown and no class of [n, c] reaches the probability `below` (None: never)."""
    if below is None:
        return np.zeros(len(unknown), np.bool_)
    return np.asarray(unknown & ~(probabilities.max(axis=1) >= below), np.bool_)
