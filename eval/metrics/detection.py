"""Telling unknown images from known ones (out-of-distribution detection, OOD).

Convention, everywhere: a score is larger the stranger the image, and OOD is the positive class, as in OpenOOD v1.5
(Zhang et al., 2023). So FPR95 is the share of known images that are flagged when at least 95 % of the unknown ones are
caught. Older papers take the known images as positive: their FPR95 is another number, their AUROC the same.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cards_deck.errors import InputError
from eval.metrics._arrays import TINY, Floats, Real, finite_row
from eval.metrics.bootstrap import Interval

_NORMAL_95 = 1.959963984540054
_ROWS = 256  # images compared with the whole bank at once: bounds memory


def auroc(scores_in: ArrayLike, scores_out: ArrayLike) -> float:
    """Probability that an unknown image scores above a known one, a tie counting one half (Hanley and McNeil, 1982).

    `scores_in` [n] of known images, `scores_out` [m] of unknown ones. auroc(a, b) = 1 - auroc(b, a).
    """
    known, unknown = finite_row(scores_in, "scores_in"), finite_row(scores_out, "scores_out")
    return float(_wins(known, unknown).sum() / (2 * len(known) * len(unknown)))


def auroc_interval(scores_in: ArrayLike, scores_out: ArrayLike) -> Interval:
    """`auroc` with its 95 % interval, normal with the variance of DeLong et al. (Biometrics 1988), within [0, 1].

    Needs two images of each kind. Where the kinds do not overlap at all, the variance and the width are 0.
    """
    known, unknown = finite_row(scores_in, "scores_in"), finite_row(scores_out, "scores_out")
    if min(len(known), len(unknown)) < 2:
        raise InputError(f"an interval needs 2 images of each kind, got {len(known)} and {len(unknown)}")
    variance = (_wins(known, unknown) / (2 * len(known))).var(ddof=1) / len(unknown)
    variance += (_wins(-unknown, -known) / (2 * len(unknown))).var(ddof=1) / len(known)
    value, half = auroc(known, unknown), _NORMAL_95 * float(np.sqrt(variance))
    return Interval(value, max(0.0, value - half), min(1.0, value + half))


def _wins(known: Floats, unknown: Floats) -> NDArray[np.int64]:
    """For each unknown image twice the number of known ones that score below it, a tie counting one."""
    ordered = np.sort(known)
    below = np.searchsorted(ordered, unknown, side="left") + np.searchsorted(ordered, unknown, side="right")
    return np.asarray(below, dtype=np.int64)


def aupr(scores_in: ArrayLike, scores_out: ArrayLike, positive: Literal["out", "in"] = "out") -> float:
    """Area under precision-recall as average precision: the sum over thresholds of the gain in recall times the
    precision there, without interpolation (Davis and Goadrich, ICML 2006, show why not).

    `positive` "out" finds unknown images by high scores (AUPR-out), "in" known ones by low scores (AUPR-in). Equal
    scores are one threshold. It depends on how many images of each kind there are: compare it within one data set.
    """
    known, unknown = finite_row(scores_in, "scores_in"), finite_row(scores_out, "scores_out")
    if positive not in ("out", "in"):
        raise InputError(f"positive must be 'out' or 'in', got {positive!r}")
    wanted, other = (unknown, known) if positive == "out" else (-known, -unknown)
    caught, flagged = _at_least(wanted, wanted), _at_least(other, wanted)
    return float((caught / (caught + flagged)).mean())  # each wanted image adds 1/m of recall at its own threshold


def fpr_at_tpr(scores_in: ArrayLike, scores_out: ArrayLike, tpr: float = 0.95) -> float:
    """Share of known images flagged by the highest threshold that catches a share of at least `tpr` of the unknown.

    An image is flagged where its score is at least the threshold, which is one of the unknown images' scores.
    """
    if not 0 < tpr <= 1:
        raise InputError(f"tpr must be above 0 and at most 1, got {tpr}")
    known, unknown = finite_row(scores_in, "scores_in"), finite_row(scores_out, "scores_out")
    needed = int(np.ceil(round(tpr * len(unknown), 9)))
    threshold = -np.sort(-unknown)[needed - 1]
    return float((known >= threshold).mean())


def msp(probabilities: Real) -> Floats:
    """1 - largest probability of [n, c] -> [n] in [0, 1) (Hendrycks and Gimpel, ICLR 2017)."""
    return np.asarray(1 - probabilities.max(axis=-1).astype(np.float64))


def entropy(probabilities: Real) -> Floats:
    """Entropy in nats over the last axis of [..., c] -> [...]."""
    rows = probabilities.astype(np.float64)
    return np.asarray(-(rows * np.log(np.maximum(rows, TINY))).sum(axis=-1))


def energy(logits: Real) -> Floats:
    """Free energy -log sum exp(logits) over the last axis of [..., c] -> [...], at temperature 1 (Liu et al., NeurIPS
    2020, eq. 4; their score for known images is its negative)."""
    rows = logits.astype(np.float64)
    top = rows.max(axis=-1, keepdims=True)
    return np.asarray(-(top[..., 0] + np.log(np.exp(rows - top).sum(axis=-1))))


def mutual_information(probabilities: Real) -> Floats:
    """How much the cards disagree: entropy of their mean minus their mean entropy, [k, n, c] -> [n] in nats, >= 0
    (Depeweg et al., ICML 2018; Lakshminarayanan et al., NeurIPS 2017, measure deep ensembles alike)."""
    if probabilities.ndim != 3 or not len(probabilities):
        raise InputError(f"probabilities must be [cards >= 1, n, classes], got {list(probabilities.shape)}")
    rows = probabilities.astype(np.float64)
    return np.asarray(np.maximum(entropy(rows.mean(axis=0)) - entropy(rows).mean(axis=0), 0))


def knn(features: Real, bank: Real, k: int = 50) -> Floats:
    """Euclidean distance [n] of each feature [n, d] to its k-th nearest in `bank` [m, d], both scaled to length 1 (Sun
    et al., ICML 2022; k = 50 for CIFAR-10). Vectors of zeros stay zeros. InputError for a bank of fewer than k."""
    if features.ndim != 2 or bank.ndim != 2 or features.shape[1] != bank.shape[1]:
        raise InputError(f"features [n, d] and bank [m, d] must agree, got {features.shape} and {bank.shape}")
    if not 1 <= k <= len(bank):
        raise InputError(f"k must be 1 to the {len(bank)} vectors of the bank, got {k}")
    stored, asked = _unit(bank), _unit(features)
    squares = np.square(stored).sum(axis=1)
    found = np.empty(len(asked))
    for start in range(0, len(asked), _ROWS):
        rows = asked[start : start + _ROWS]
        distance = np.square(rows).sum(axis=1)[:, None] + squares - 2 * rows @ stored.T
        found[start : start + _ROWS] = np.partition(distance, k - 1, axis=1)[:, k - 1]
    return np.sqrt(np.maximum(found, 0))


def _unit(vectors: Real) -> Floats:
    rows = vectors.astype(np.float64)
    length = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return np.asarray(rows / np.where(length > 0, length, 1))


def _at_least(scores: Floats, thresholds: Floats) -> Floats:
    """How many `scores` are at least each threshold."""
    return np.asarray(len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left"), dtype=np.float64)
