"""Whom to believe where augmentations disagree: what is seen of their answers, and how it is learned.

The gate of a mixture of experts (Jacobs et al., Neural Computation 1991, eq. 1.3) that has heard the experts: besides
the spectrum it knows how undecided each augmentation is, and what the others think of its class.
"""

from __future__ import annotations

import numpy as np

from cards_deck.inference.gates._base import Bools
from cards_deck.inference.gates._likelihood import fit_mixture
from cards_deck.inference.gates._observed import Doubles, Integers
from cards_deck.inference.gates._profile import product
from cards_deck.inference.pooling import softmax
from cards_deck.spectrum import Floats

SMALLEST = np.float32(1e-6)  # of a share or a probability whose logarithm is taken
SEEN = 3  # numbers of each augmentation
LEAST_ROWS = 50  # on which augmentations disagree: fewer say little of whom to believe


def answers(logits: Floats, ran: Bools, under: Floats) -> tuple[Floats, Bools]:
    """(probabilities [a, n, c], bool [n, a]): the mean answer of each augmentation's cards among those in `ran` [n, k],
    and whether there is one. A card of several augmentations counts for each as far as it is `under` it [k, a]."""
    share = product(ran.astype(np.float32), under)
    means = np.zeros((under.shape[1], *logits.shape[1:]), np.float32)
    for card in np.flatnonzero(ran.any(axis=0)).tolist():
        rows = ran[:, card]
        with np.errstate(all="ignore"):  # a hostile answer may be infinite
            answer = softmax(logits[card, rows])
        for place in np.flatnonzero(under[card]).tolist():
            means[place, rows] += under[card, place] * answer
    means /= np.where(share > 0, share, np.float32(1)).T[:, :, None]
    return means, share > 0


def evidence(preferred: Floats, means: Floats, there: Bools) -> Floats:
    """float32 [n, 3 a]: of each augmentation how far the spectrum prefers it, how probable its class is to the mean of
    the others, both as logarithms, and the entropy of its answer in nats. Not a number where an augmentation has not
    answered, nor of the second where no other has.

    Args:
        preferred: shares [n, a] by the spectrum.
        means: probabilities [a, n, c], see `answers`.
        there: bool [n, a], who has answered.
    """
    count, total, rows = there.sum(axis=1), means.sum(axis=0), np.arange(len(there))
    seen = np.log(np.maximum(preferred, SMALLEST))
    others, entropies = np.full_like(seen, np.nan), np.full_like(seen, np.nan)
    for place, answer in enumerate(means):
        of = there[:, place]
        entropies[of, place] = -(answer * np.log(np.maximum(answer, SMALLEST))).sum(axis=1)[of]
        of = of & (count > 1)
        rest = (total - answer)[rows, answer.argmax(axis=1)] / np.maximum(count - 1, 1)
        others[of, place] = np.log(np.maximum(rest[of], SMALLEST))
    return np.concatenate([seen - seen.mean(axis=1, keepdims=True), others, entropies], axis=1, dtype=np.float32)


def fit_referee(
    preferred: Floats, means: Floats, there: Bools, labels: Integers, share: Doubles
) -> tuple[Floats, Floats, Floats]:
    """(typical float32 [3 a], weights float32 [3 a, a], bias float32 [a]): evidence @ weights + bias, as the scores of
    a softmax, mix the augmentations' answers best on the rows where all have answered and do not all name one class.
    `typical` is the mean of the evidence there, which stands for what is not a number. Of fewer than `LEAST_ROWS` such
    rows nothing is learned: augmentations mix as they are preferred. See `evidence`; `share` [n]: of the rows."""
    named, count = means.argmax(axis=2), SEEN * len(means)
    rows = np.flatnonzero(there.all(axis=1) & (named != named[0]).any(axis=0))
    if len(rows) < LEAST_ROWS:
        return (
            np.zeros(count, np.float32),
            np.eye(count, len(means), dtype=np.float32),
            np.zeros(len(means), np.float32),
        )
    seen, weight = evidence(preferred[rows], means[:, rows], there[rows]), share[rows] / share[rows].sum()
    right = means[:, rows, labels[rows]].T.astype(np.float64)
    weights, bias = fit_mixture(seen, np.maximum(right, float(SMALLEST)), weight)
    return (weight @ seen).astype(np.float32), weights, bias
