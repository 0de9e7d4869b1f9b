"""A learned rival of the gate: a linear classifier of corruptions on the spectrum, which then picks one card.

Softmax regression on standardised log-amplitude spectra, trained on validation images as they are and under
corruptions that no suite measures (one class each, all severities together). Each class goes to the card that is best
on its validation cells. It sees what the gate sees, and has labels of corruptions that the gate has not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cards_deck.spectrum import Floats
from eval.measure import CellAnswers, labels_of
from eval.metrics import is_correct
from eval.routing._base import Routed, one_card

Floats64 = NDArray[np.float64]

PENALTY = 1e-3  # of the squared weights; the features have unit variance
STEPS = 100
HELD_OUT = 5  # every fifth image is kept out of the training, to say how accurate it is


@dataclass(frozen=True, eq=False)
class Classifier:
    """`classes` names what it tells apart, `cards` [classes] the card for each; `accuracy` is on held-out images.

    Score of class c: features @ weights[:, c] + bias[c], features = (spectrum - mean) / spread.
    """

    classes: tuple[str, ...]
    cards: tuple[int, ...]
    accuracy: float
    mean: Floats64
    spread: Floats64
    weights: Floats64
    bias: Floats64

    def route(self, cell: CellAnswers) -> Routed:
        """See `Route`."""
        chosen = np.asarray(self.cards)[self.classify(cell.spectra())]
        return one_card(chosen, len(cell.logits))

    def classify(self, spectra: Floats) -> NDArray[np.intp]:
        """Index of the class of each spectrum [n, h, h // 2 + 1]."""
        weights = (self.weights / self.spread[:, None]).astype(np.float32)
        bias = (self.bias - self.mean @ (self.weights / self.spread[:, None])).astype(np.float32)
        rows = spectra.reshape(len(spectra), -1)
        return np.asarray((rows @ weights + bias).argmax(axis=1))


def train_classifier(names: Sequence[str], cells: Sequence[CellAnswers]) -> Classifier:
    """The classifier for validation cells of these class names; the i-th image of every cell is the same one."""
    classes = tuple(dict.fromkeys(names))
    place = [classes.index(name) for name in names]
    labels = np.concatenate([np.full(len(cell.distances), p) for p, cell in zip(place, cells, strict=True)])
    held = np.concatenate([_held_out(len(cell.distances)) for cell in cells])
    features = np.concatenate([cell.spectra().reshape(len(cell.distances), -1) for cell in cells])
    mean, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64) + 1e-6
    features -= mean.astype(np.float32)
    features /= spread.astype(np.float32)
    weights, bias = _fit(features[~held], labels[~held], len(classes))
    scored = held if held.any() else ~held
    found = (features[scored] @ weights.astype(np.float32) + bias).argmax(axis=1)
    accuracy = _balanced(found == labels[scored], labels[scored])
    cards = tuple(
        _best_card([cell for p, cell in zip(place, cells, strict=True) if p == c]) for c in range(len(classes))
    )
    return Classifier(classes, cards, accuracy, mean, spread, weights, bias)


def _held_out(n: int) -> NDArray[np.bool_]:
    return np.asarray(np.arange(n) % HELD_OUT == HELD_OUT - 1)


def _balanced(right: NDArray[np.bool_], labels: NDArray[np.int_]) -> float:
    """Mean over the classes of their accuracy: the corruptions have five times as many images as clean."""
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def _best_card(cells: Sequence[CellAnswers]) -> int:
    return int(np.mean([is_correct(cell.logits, labels_of(cell)).mean(axis=1) for cell in cells], axis=0).argmax())


def _fit(features: NDArray[np.float32], labels: NDArray[np.int_], classes: int) -> tuple[Floats64, Floats64]:
    """Weights [d, classes] and bias [classes] of softmax regression, by L-BFGS from zero; classes weigh the same."""
    from scipy.optimize import minimize

    share = 1 / (np.bincount(labels, minlength=classes)[labels] * classes)
    wanted = np.zeros((len(labels), classes))
    wanted[np.arange(len(labels)), labels] = 1

    def loss(flat: Floats64) -> tuple[float, Floats64]:
        weights, bias = flat[:-classes].reshape(-1, classes), flat[-classes:]
        scores = (features @ weights.astype(np.float32)).astype(np.float64) + bias
        scores -= scores.max(axis=1, keepdims=True)
        probabilities = np.exp(scores)
        total = probabilities.sum(axis=1, keepdims=True)
        value = share @ (np.log(total[:, 0]) - scores[np.arange(len(labels)), labels])
        slope = (probabilities / total - wanted) * share[:, None]
        gradient = (features.T @ slope.astype(np.float32)).astype(np.float64) + 2 * PENALTY * weights
        value += PENALTY * float(np.square(weights).sum())
        return float(value), np.concatenate([gradient.ravel(), slope.sum(axis=0)])

    start = np.zeros((features.shape[1] + 1) * classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
    return found[:-classes].reshape(-1, classes), found[-classes:]
