"""From how sure on some cards may answer for all of them: what that loses in the cell where it loses most.

Geifman & El-Yaniv (Selective Classification for Deep Neural Networks, NeurIPS 2017, section 3) choose a threshold on
confidence for the risk that it leaves. Here the risk is what an early answer loses against the plain average of all
cards, so that images that nobody gets right may be answered early too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cards_deck.inference.gates._base import Bools, Known
from cards_deck.inference.gates._observed import Doubles, Observed
from cards_deck.inference.pooling import softmax
from cards_deck.spectrum import Floats

# Accuracy that an early answer may lose in any cell; 1: whatever it loses.
RISKS = (0.0, 0.0005, 0.001, 0.0015, 0.002, 0.0025, 0.003, 0.004, 0.005, 0.006, 0.0075,
         0.01, 0.0125, 0.015, 0.02, 0.03, 0.05, 0.1, 1.0)  # fmt: skip
NEVER = 2.0  # sure enough: more than a probability can be


def sure_enough(
    observed: Observed, known: Known, pools: Bools, temperatures: Floats, risks: Sequence[float] = RISKS
) -> Floats:
    """float32 [risks, p]: from which probability of their answer on the cards of each of `pools` [p, k] may stop.

    Whoever of a cell is at least so sure loses, all of them together, no more than the risk of the cell's accuracy
    against the plain average of all original cards; in every cell, whatever its spectra say, and at every higher
    threshold too. How sure a pool is: the mean of its cards' probabilities, each at its temperature.
    """
    rows, labels = np.arange(len(observed.labels)), observed.labels
    raw = [softmax(card) for card in observed.logits]
    calibrated = [softmax(card / warm) for card, warm in zip(observed.logits, temperatures, strict=True)]
    average = sum(raw[card] for card in known.originals)
    plain = np.asarray(average).argmax(axis=1) == labels
    places = [np.flatnonzero(observed.cell == cell) for cell in np.unique(observed.cell)]
    found = np.zeros((len(risks), len(pools)), np.float32)
    for pool, chosen in enumerate(pools):
        cards = np.flatnonzero(chosen).tolist()
        answer = np.asarray(sum(raw[card] for card in cards)).argmax(axis=1)
        sure = np.asarray(sum(calibrated[card] for card in cards)).max(axis=1) / np.float32(len(cards))
        lost = plain[rows].astype(np.int64) - (answer == labels)
        for those in places:
            np.maximum(found[:, pool], _least(sure[those], lost[those], risks), out=found[:, pool])
    return found


def _least(sure: Floats, lost: np.ndarray[tuple[int], np.dtype[np.int64]], risks: Sequence[float]) -> Floats:
    """float32 [risks]: above how much of `sure` [n] at most the risk is lost, counted from the surest on."""
    order = np.argsort(-sure, kind="stable")
    running: Doubles = np.maximum.accumulate(np.cumsum(lost[order])) / len(sure)
    first = np.searchsorted(running, np.asarray(risks) + 1e-9, side="right")  # the first one that is too much
    above = np.nextafter(sure[order], np.float32(NEVER))
    return np.append(above, np.float32(0))[first].astype(np.float32)
