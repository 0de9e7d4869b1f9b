"""How strange an image is, and how much the cards of each augmentation count by that.

One number: the Mahalanobis distance (Mahalanobis 1936) of the image's ring means to those of clean images. It has no
parameter that knows one shift from another, as a linear function of all rings has.
"""

from __future__ import annotations

import numpy as np

from cards_deck.inference.gates._base import Known
from cards_deck.inference.gates._likelihood import fit_mixture, profiles
from cards_deck.inference.gates._observed import CHUNK, CLEAN, Doubles, Observed
from cards_deck.inference.gates._profile import linear
from cards_deck.inference.pooling import softmax
from cards_deck.spectrum import Floats

SMALLEST = 1e-6  # variance of a ring mean, of log-amplitudes


def strangeness(rings: Floats, ordinary: Floats, whitening: Floats) -> Floats:
    """float32 [n]: how many standard deviations ring means [n, r] are away from `ordinary` ones [r], of which
    `whitening` [r, r] makes all directions alike."""
    away = linear(rings - ordinary, whitening, np.zeros(len(ordinary), np.float32))
    return np.asarray(np.sqrt(np.square(away).sum(axis=1)), np.float32)


def strangeness_of(observed: Observed, ordinary: Floats, whitening: Floats) -> Floats:
    """float32 [m]: of all observed rows, some at a time: bounds memory."""
    rings = profiles(observed)
    parts = (rings[start : start + CHUNK] for start in range(0, len(rings), CHUNK))
    return np.concatenate([strangeness(part, ordinary, whitening) for part in parts])


def fit_ordinary(observed: Observed) -> tuple[Floats, Floats]:
    """(mean float32 [r], whitening float32 [r, r]) of the clean rows' ring means; of all rows' where none are clean.

    The covariance is shrunk towards its diagonal, which weighs as much as there are rings against the number of rows:
    few rows say little of how rings go together."""
    clean = np.array([name == CLEAN for name in observed.names])[observed.cell]
    rings = profiles(observed.rows(clean) if clean.any() else observed).astype(np.float64)
    centred = rings - rings.mean(axis=0)
    spread, more = centred.T @ centred / len(rings), rings.shape[1]
    alone = np.diag(np.diag(spread) + SMALLEST)
    spread = (len(rings) * spread + more * alone) / (len(rings) + more)
    return rings.mean(axis=0).astype(np.float32), np.linalg.cholesky(np.linalg.inv(spread)).astype(np.float32)


def fit_shares(observed: Observed, known: Known, strange: Floats) -> tuple[Floats, Floats]:
    """(weights float32 [1, k], bias float32 [k]) that make of how `strange` [m] images are the scores of a softmax over
    the original cards: that with which the mean answers of the augmentations mix best. Cards of one augmentation share
    alike; of averages of other cards it says nothing."""
    names = [known.augmentations[card] for card in known.originals]
    groups = [[card for card in known.originals if known.augmentations[card] == name] for name in sorted({*names})]
    rows = np.arange(len(strange))
    right: list[Doubles] = [softmax(card)[rows, observed.labels].astype(np.float64) for card in observed.logits]
    experts = np.stack([np.mean([right[card] for card in group], axis=0) for group in groups], axis=1)
    slopes, biases = fit_mixture(strange[:, None], np.maximum(experts, 1e-6), observed.share)
    weights, bias = np.zeros((1, len(right)), np.float32), np.zeros(len(right), np.float32)
    for place, group in enumerate(groups):
        weights[0, group], bias[group] = slopes[0, place], biases[place] - np.log(len(group))
    return weights, bias
