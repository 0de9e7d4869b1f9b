"""From how sure on some cards may answer for all of them: what that loses in the cell where it loses most.

Geifman & El-Yaniv (Selective Classification for Deep Neural Networks, NeurIPS 2017, section 3) choose a threshold on
confidence for the risk that it leaves. Here the risk is what early answers lose against the plain average of all cards,
so that images that nobody gets right may be answered early too; it is a share of all images of the cell, as it was on
these rows, without a bound on what it is on others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cards_deck.inference.gates._base import Known, equal_row
from cards_deck.inference.gates._confidence import lead
from cards_deck.inference.gates._observed import Doubles, Integers, Observed
from cards_deck.inference.pooling import softmax
from cards_deck.spectrum import Floats

# Accuracy that early answers may lose in any cell; 1: whatever they lose.
RISKS = (0.0, 0.0005, 0.001, 0.0015, 0.002, 0.0025, 0.003, 0.004, 0.005, 0.006, 0.0075,
         0.01, 0.0125, 0.015, 0.02, 0.03, 0.05, 0.1, 1.0)  # fmt: skip
NEVER = 2.0  # sure enough: more than a lead can be


def sure_enough(
    observed: Observed, known: Known, weights: Floats, temperatures: Floats, risks: Sequence[float] = RISKS
) -> Floats:
    """float32 [risks, s]: from which lead of the likeliest class on cards of each of the `weights` [s, k] may stop.

    Were all images of a cell asked of just these cards, those that are at least so sure would lose, wins counted
    against losses, no more than the risk of the cell's accuracy against the plain average of all original cards; in
    every cell, and at every higher threshold too. How sure cards are: how far a class is ahead of the next one in the
    weighted mean of their probabilities, each at its temperature.
    """
    raw = [softmax(card) for card in observed.logits]
    calibrated = [softmax(card / warm) for card, warm in zip(observed.logits, temperatures, strict=True)]
    average = equal_row(list(known.originals), len(raw))
    plain = _mean(raw, average).argmax(axis=1) == observed.labels
    places = [np.flatnonzero(observed.cell == cell) for cell in np.unique(observed.cell)]
    found = np.zeros((len(risks), len(weights)), np.float32)
    for column, shares in enumerate(weights):
        right = _mean(raw, shares).argmax(axis=1) == observed.labels
        sure, lost = lead(_mean(calibrated, shares)), plain.astype(np.int64) - right
        for those in places:
            np.maximum(found[:, column], _least(sure[those], lost[those], risks), out=found[:, column])
    return found


def _mean(probabilities: list[Floats], weights: Floats) -> Floats:
    """[m, c], rounded as `combine` rounds it: what is not sure enough here is not when it is served either."""
    return np.asarray(sum(weights[card] * probabilities[card] for card in np.flatnonzero(weights).tolist()))


def _least(sure: Floats, lost: Integers, risks: Sequence[float]) -> Floats:
    """float32 [risks]: the least of `sure` [n] from which on no more than the risk is lost, counted from the surest."""
    order = np.argsort(-sure, kind="stable")
    running: Doubles = np.maximum.accumulate(np.cumsum(lost[order])) / len(sure)
    first = np.searchsorted(running, np.asarray(risks) + 1e-9, side="right")  # the first one that is too much
    above = np.nextafter(sure[order], np.float32(NEVER))
    return np.append(above, np.float32(0))[first].astype(np.float32)
