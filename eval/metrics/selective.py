"""Answering only where one is sure: risk against coverage (El-Yaniv and Wiener, JMLR 2010; Geifman et al., ICLR 2019).

Images are answered from the most confident on. Coverage is the share answered, risk the share of errors among them.
Images of equal confidence are taken in random order, and the expected number of errors is used: their order in the
array changes nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cards_deck.errors import InputError
from eval.metrics._arrays import Bools, Floats, confidence_and_correct
from eval.metrics.calibration import shared_by_ties


def risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> tuple[Floats, Floats]:
    """(coverage [n], risk [n]) from confidence [n] and correct [n]: entry i is for the i + 1 most confident images."""
    sure, right = confidence_and_correct(confidence, correct)
    order = np.argsort(-sure, kind="stable")
    errors = np.cumsum(shared_by_ties(sure[order], 1 - right[order]))
    answered = np.arange(1, len(sure) + 1)
    return answered / len(sure), np.minimum(errors / answered, 1.0)


def aurc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Area under the risk-coverage curve: the mean of the risk at coverages 1/n, 2/n, ..., 1 (Geifman et al., 2019)."""
    return float(risk_coverage(confidence, correct)[1].mean())


def excess_aurc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """AURC above that of a perfect ranking of the same answers, every error last (E-AURC of Geifman et al., 2019, with
    the exact sum in place of their approximation): 0 is perfect."""
    _, right = confidence_and_correct(confidence, correct)
    perfect = aurc(right, right)
    return aurc(confidence, correct) - perfect


def coverage_at_risk(confidence: ArrayLike, correct: ArrayLike, risk: float) -> float:
    """The largest coverage that a threshold on confidence can give with a risk of at most `risk`; 0 where none can.

    A threshold cannot part images of equal confidence, so only coverages where a tie ends count. Chosen on the images
    themselves: a description of the ranking, and not a guarantee for new ones.
    """
    if not 0 <= risk <= 1:
        raise InputError(f"risk must be in [0, 1], got {risk}")
    coverage, found = risk_coverage(confidence, correct)
    allowed = _ends(confidence) & (found <= risk + 1e-12)
    return float(coverage[allowed].max(initial=0.0))


def thinned_curve(coverage: Floats, risk: Floats, points: int = 60) -> list[list[float]]:
    """At most `points` pairs [coverage, risk], evenly spaced in rank with both ends kept, six digits: for a report."""
    kept: NDArray[np.intp] = np.unique(np.linspace(0, len(coverage) - 1, points).round().astype(np.intp))
    return [[round(float(coverage[i]), 6), round(float(risk[i]), 6)] for i in kept]


def _ends(confidence: ArrayLike) -> Bools:
    ordered = -np.sort(-np.asarray(confidence, dtype=np.float64))
    return np.append(ordered[:-1] != ordered[1:], True)
