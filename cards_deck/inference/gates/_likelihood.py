"""Fitting what the spectrum says of each card: by the likelihood of the labels under the mixture of all cards.

The negative log-likelihood of a mixture of experts (Jacobs et al., Neural Computation 1991, eq. 1.3) whose experts are
the cards as they are: only the gate is fitted, on held-out images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from cards_deck.inference.gates._observed import CHUNK, Doubles, Observed
from cards_deck.inference.gates._profile import ring_count, ring_means
from cards_deck.inference.pooling import softmax
from cards_deck.spectrum import Floats

Loss = Callable[[Doubles], tuple[float, Doubles]]

PENALTY = 1e-3  # of the squared weights, for features of unit variance
STEPS = 200
BOUNDS = (np.log(0.05), np.log(20.0))  # of a temperature's logarithm

_FITTED: WeakKeyDictionary[Observed, tuple[Floats, Floats]] = WeakKeyDictionary()


def mixture_loss(scores: Doubles, right: Doubles, share: Doubles) -> tuple[float, Doubles]:
    """(negative log-likelihood, its gradient by the scores [m, k]).

    The mixture's weights are the softmax of the scores; `right` [m, k] is each card's probability of the label and
    `share` [m] each image's weight.
    """
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    mixture = (weights * right).sum(axis=1)
    gradient = weights * (1 - right / mixture[:, None]) * share[:, None]
    return float(-share @ np.log(mixture)), gradient


def minimised(
    loss: Callable[[Doubles], tuple[float, Doubles]],
    start: Doubles,
    bounds: Sequence[tuple[float, float]] | None = None,
) -> Doubles:
    """Where L-BFGS ends from `start`, between bounds if given."""
    from scipy.optimize import minimize  # slow to import, and only fitting needs it

    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS})
    return np.asarray(found.x, np.float64)


def fit_temperatures(observed: Observed) -> Floats:
    """float32 [k]: by which dividing each card's logits makes its labels most likely (Guo et al., ICML 2017)."""
    from scipy.optimize import minimize_scalar

    found = []
    for card in observed.logits.astype(np.float64):
        shifted = card - card.max(axis=1, keepdims=True)
        label = shifted[np.arange(len(card)), observed.labels]

        def loss(log: float, shifted: Doubles = shifted, label: Doubles = label) -> float:
            cold = np.exp(-log)
            return float(observed.share @ (np.log(np.exp(cold * shifted).sum(axis=1)) - cold * label))

        found.append(np.exp(minimize_scalar(loss, bounds=BOUNDS, method="bounded").x))
    return np.array(found, np.float32)


def worst_temperatures(observed: Observed) -> Floats:
    """float32 [k]: the temperature of each card in the cell in which it is too sure the most."""
    cells = np.unique(observed.cell)
    found = np.stack([fit_temperatures(observed.rows(observed.cell == cell)) for cell in cells])
    return np.asarray(found.max(axis=0), np.float32)


def calibrated_right(observed: Observed) -> Doubles:
    """float64 [m, k], at least 1e-6: the probability that each card gives to the label at its own temperature, so that
    a card is not preferred for being timid, nor left out for being too sure."""
    rows, temperatures = np.arange(len(observed.labels)), fit_temperatures(observed)
    pairs = zip(observed.logits, temperatures, strict=True)
    found = [softmax(card / temperature)[rows, observed.labels] for card, temperature in pairs]
    return np.maximum(np.stack(found, axis=1).astype(np.float64), 1e-6)


def profiles(observed: Observed) -> Floats:
    """Ring means float32 [m, r] of all observed spectra."""
    found = np.empty((len(observed.labels), ring_count(observed.spectra.shape[1])), np.float32)
    for start in range(0, len(found), CHUNK):
        part = observed.spectra[start : start + CHUNK].astype(np.float32)
        found[start : start + CHUNK] = ring_means(part)
    return found


def fit_linear(observed: Observed) -> tuple[Floats, Floats]:
    """(weights float32 [r, k], bias float32 [k]): ring means @ weights + bias, as the scores of a softmax, weigh the
    cards. From zero, so always the same; several kinds of gate need it of the same rows, so it is kept with them."""
    if observed not in _FITTED:
        _FITTED[observed] = _fit_linear(observed)
    return _FITTED[observed]


def _fit_linear(observed: Observed) -> tuple[Floats, Floats]:
    return fit_mixture(profiles(observed), calibrated_right(observed), observed.share)


def fit_mixture(features: Floats, right: Doubles, share: Doubles) -> tuple[Floats, Floats]:
    """(weights float32 [f, e], bias float32 [e]) with which the softmax of features [m, f] @ weights + bias mixes
    experts best, that give the labels the probabilities `right` [m, e]; `share` [m] is each row's weight. Features are
    brought to unit variance first."""
    mean = share @ features
    spread = np.sqrt(share @ np.square(features - mean)) + 1e-6
    scaled = (features - mean) / spread
    count, experts = features.shape[1], right.shape[1]

    def loss(flat: Doubles) -> tuple[float, Doubles]:
        weights = flat[:-experts].reshape(count, experts)
        value, slope = mixture_loss(scaled @ weights + flat[-experts:], right, share)
        value += PENALTY * float(np.square(weights).sum())
        return value, np.concatenate([(scaled.T @ slope + 2 * PENALTY * weights).ravel(), slope.sum(axis=0)])

    found = minimised(loss, np.zeros((count + 1) * experts))
    weights = found[:-experts].reshape(count, experts) / spread[:, None]
    return weights.astype(np.float32), (found[-experts:] - mean @ weights).astype(np.float32)
