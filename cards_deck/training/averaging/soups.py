"""Model soups: averages of several fine-tuned cards (Wortsman et al., ICML 2022).

A soup is a row of coefficients, one for each card, that sum to 1; cards with 0 are left out. `score` is any measure of
a soup on held-out images, higher is better.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cards_deck.errors import InputError

Soup = tuple[float, ...]
Score = Callable[[Soup], float]
Gradient = Callable[[Soup], NDArray[np.floating[Any]]]
LEAST = 0.01  # a coefficient below this is none


def alone(place: int, count: int) -> Soup:
    """The soup of one card."""
    return tuple(float(index == place) for index in range(count))


def uniform(count: int) -> Soup:
    """The mean of all cards."""
    if count < 2:
        raise InputError(f"a soup needs at least 2 cards, got {count}")
    return (1 / count,) * count


def greedy(count: int, score: Score) -> Soup:
    """The greedy soup: cards from the best on, each added to the mean only where that scores strictly higher.

    It is never worse than the best card on the images that `score` measures (section 3, recipe 1).
    """
    if count < 2:
        raise InputError(f"a soup needs at least 2 cards, got {count}")
    single = [score(alone(place, count)) for place in range(count)]
    first, *others = sorted(range(count), key=lambda place: (-single[place], place))
    members, best = [first], single[first]
    for place in others:
        tried = [*members, place]
        if (found := score(_mean(tried, count))) > best:
            members, best = tried, found
    return _mean(members, count)


def learned(start: Soup, score: Score, gradient: Gradient, *, steps: int = 8, rate: float = 1.0) -> Soup:
    """A learned soup: one coefficient for each card, by gradient descent through a softmax (section 3 and appendix).

    Of all soups on the way the best is returned, `start` among them: it is never worse than that.

    Args:
        start: where the descent begins, say the greedy or the uniform soup; coefficients of 0 become small ones.
        score: of a soup, higher is better.
        gradient: of the held-out loss by the coefficients, at a soup of all cards.
        steps: of descent.
        rate: change of a coefficient's logarithm in the first step, where its gradient is the largest.
    """
    if steps < 1 or rate <= 0:
        raise InputError(f"a learned soup needs steps and a rate above 0, got {steps} and {rate}")
    best, most = start, score(start)
    logits = np.log(np.maximum(np.array(start, np.float64), LEAST))
    for step in range(steps):
        soup = _softmax(logits)
        slope = np.asarray(gradient(tuple(soup)), np.float64)
        slope = soup * (slope - soup @ slope)  # through the softmax
        if not np.isfinite(slope).all() or not slope.any():
            break
        logits = logits - rate * (1 - step / steps) * slope / np.abs(slope).max()
        tried = trimmed(tuple(_softmax(logits)))
        if (found := score(tried)) > most:
            best, most = tried, found
    return best


def trimmed(soup: Soup) -> Soup:
    """The soup without coefficients below `LEAST`, scaled to sum to 1."""
    kept = np.where(np.array(soup) < LEAST, 0, soup)
    return tuple(float(value) for value in kept / kept.sum())


def _mean(members: list[int], count: int) -> Soup:
    return tuple(1 / len(members) if place in members else 0.0 for place in range(count))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max())
    found: NDArray[np.float64] = powers / powers.sum()
    return found
