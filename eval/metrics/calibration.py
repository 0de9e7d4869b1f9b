"""Is a probability what it says? Calibration errors, proper scores, and the temperature that mends them.

Confidence is the largest probability of an answer, correct is whether that class is the label. Averaging the cards'
probabilities makes a deck under-confident, so the temperature is fitted after pooling (Rahaman and Thiery, NeurIPS
2021), on validation images and never on the corruptions of the test.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

from cards_deck.errors import InputError
from eval.metrics._arrays import TINY, Floats, Whole, checked_probabilities, confidence_and_correct

TEMPERATURES = (0.05, 20.0)  # the range that `fit_temperature` searches
_STEPS = 60


class Bin(TypedDict):
    """The images of one bin of confidence: means (None where there is no image) and their number."""

    confidence: float | None
    accuracy: float | None
    count: int


def reliability(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> list[Bin]:
    """The reliability diagram: images by confidence [n] in `bins` equally wide bins, correct [n] (DeGroot and
    Fienberg, 1983; Guo et al., ICML 2017, section 2).

    Bin m holds the confidences in ((m-1)/bins, m/bins]; exactly 0 is in the first.
    """
    sure, right = confidence_and_correct(confidence, correct)
    _check_bins(bins)
    if sure.min() < 0 or sure.max() > 1 + 1e-6:
        raise InputError(f"confidence must be in [0, 1], got {sure.min()} to {sure.max()}: pass probabilities")
    place = np.clip(np.searchsorted(np.arange(1, bins) / bins, sure, side="left"), 0, bins - 1)
    return [_bin(sure[place == index], right[place == index]) for index in range(bins)]


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """ECE in [0, 1] (Naeini et al., AAAI 2015; Guo et al., ICML 2017, eq. 3): |accuracy - mean confidence| of each of
    `bins` equally wide bins, weighted by the share of images in it. Biased upwards where there are few images."""
    return _weighted_gap(reliability(confidence, correct, bins))


def adaptive_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """ECE over bins of equally many images (Nguyen and O'Connor, EMNLP 2015; Nixon et al., CVPR workshops 2019, for the
    top label).

    Images of equal confidence share their mean correctness, so that the order in which they come changes nothing. The
    first n mod `bins` bins hold one image more; with fewer images than bins each image is a bin.
    """
    sure, right = confidence_and_correct(confidence, correct)
    _check_bins(bins)
    order = np.argsort(sure, kind="stable")
    sure, right = sure[order], shared_by_ties(sure[order], right[order])
    parts = zip(np.array_split(sure, bins), np.array_split(right, bins), strict=True)
    return _weighted_gap([_bin(c, r) for c, r in parts])


def shared_by_ties(ordered: Floats, values: Floats) -> Floats:
    """`values` [n] with those of equal neighbours in `ordered` [n] replaced by their mean."""
    _, group, counts = np.unique(ordered, return_inverse=True, return_counts=True)
    return np.asarray((np.bincount(group, values) / counts)[group])


def negative_log_likelihood(probabilities: ArrayLike, labels: Whole) -> float:
    """Mean of -log p(label) in nats, from probabilities [n, c]; probabilities below 1e-12 count as 1e-12."""
    rows = checked_probabilities(probabilities, labels)
    return float(-np.log(np.maximum(rows[np.arange(len(rows)), labels], TINY)).mean())


def brier(probabilities: ArrayLike, labels: Whole) -> float:
    """Mean over images of the sum over classes of (p - [class is the label])^2, in [0, 2] (Brier, 1950: the original
    form, summed over classes and not halved)."""
    rows = checked_probabilities(probabilities, labels)
    on_label = rows[np.arange(len(rows)), labels]
    return float((np.square(rows).sum(axis=1) - 2 * on_label + 1).mean())


def tempered(probabilities: ArrayLike, temperature: float) -> Floats:
    """softmax(log p / T) of each row of [n, c], float64: sharper below T = 1, flatter above it.

    The order of classes in a row, and so the answer, stays for float32 probabilities (of values within a rounding error
    of float64, ties may be made). Probabilities below 1e-12 count as 1e-12.
    """
    if not temperature > 0 or not np.isfinite(temperature):
        raise InputError(f"temperature must be a positive number, got {temperature}")
    return _softmax(_logs(probabilities) / temperature)


def fit_temperature(probabilities: ArrayLike, labels: Whole) -> float:
    """The T in [0.05, 20] whose `tempered` probabilities [n, c] have the least negative log-likelihood (Guo et al.,
    ICML 2017, section 4.2, on the log of pooled probabilities in place of logits).

    The loss is convex in 1/T: Newton steps on its derivative, halving the bracket where a step leaves it.
    """
    logs = _logs(probabilities, labels)
    target = logs[np.arange(len(logs)), labels].mean()
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    inverse = 1.0
    for _ in range(_STEPS):
        chance = _softmax(inverse * logs)
        mean = (chance * logs).sum(axis=1)
        slope = mean.mean() - target
        if slope > 0:
            high = inverse
        else:
            low = inverse
        curvature = ((chance * np.square(logs)).sum(axis=1) - np.square(mean)).mean()
        step = inverse - slope / curvature if curvature > 0 else np.inf
        following = step if low < step < high else (low + high) / 2
        if abs(following - inverse) <= 1e-12 * inverse:
            break
        inverse = following
    return float(1 / inverse)


def _logs(probabilities: ArrayLike, labels: Whole | None = None) -> Floats:
    return np.asarray(np.log(np.maximum(checked_probabilities(probabilities, labels), TINY)))


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _check_bins(bins: int) -> None:
    if bins < 1:
        raise InputError(f"bins must be at least 1, got {bins}")


def _bin(sure: Floats, right: Floats) -> Bin:
    if not len(sure):
        return {"confidence": None, "accuracy": None, "count": 0}
    return {"confidence": float(sure.mean()), "accuracy": float(right.mean()), "count": len(sure)}


def _weighted_gap(bins: list[Bin]) -> float:
    total = sum(found["count"] for found in bins)
    gaps = [
        found["count"] * abs(found["accuracy"] - found["confidence"])
        for found in bins
        if found["accuracy"] is not None and found["confidence"] is not None
    ]
    return float(sum(gaps) / total)
