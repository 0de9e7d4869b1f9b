"""The Square attack in the L-infinity ball (Andriushchenko et al., ECCV 2020, algorithms 1 and 2), on uint8 images.

It sees nothing but probabilities, so no gate can hide gradients from it: random squares of the image are set to the
edge of the ball, and kept where the margin of the right class shrinks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cards_deck.spectrum import Floats, Images
from eval.attacks.chunks import Rows, check_levels, in_chunks

Answers = Callable[[Images], Floats]

FIRST_SHARE = 0.8  # of the image's pixels in the first squares (section 5)
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries; other budgets are scaled
_SMALLEST = np.float32(1e-30)  # a probability: keeps logarithms finite


def square(
    answers: Answers,
    images: Images,
    labels: NDArray[np.int64],
    levels: int,
    *,
    queries: int = 200,
    seed: int = 0,
    threads: int = 1,
) -> Images:
    """Attack uint8 [n, h, h, 3] -> uint8 [n, h, h, 3], no value changed by more than `levels` grey levels.

    `answers(uint8 images) -> probabilities [n, c]` is asked at most `queries` times per image, the clean image
    included; an image answered wrongly is left alone. Raises InputError for a radius outside 0 to 255.
    """
    check_levels(levels)
    if not levels:
        return images.copy()

    def chunk(clean: Images, rows: Rows, number: int) -> Images:
        generator = np.random.default_rng([seed, levels, number])
        return _search(answers, clean, labels[rows], levels, queries, generator)

    return in_chunks(chunk, images, threads)


def margins(probabilities: Floats, labels: NDArray[np.int64]) -> Floats:
    """[n]: log-probability of the right class minus that of the best other one; below 0 the answer is wrong."""
    logs = np.log(np.maximum(probabilities, _SMALLEST))
    rows = np.arange(len(labels))
    right = logs[rows, labels]
    logs[rows, labels] = -np.inf
    return np.asarray(right - logs.max(axis=1), np.float32)


def side(query: int, queries: int, size: int) -> int:
    """Width in pixels of the square of this query: its share of the image is halved again and again (section 5)."""
    halvings = sum(query * 10_000 > step * queries for step in _HALVINGS)
    return min(max(round(float(np.sqrt(FIRST_SHARE / 2**halvings)) * size), 1), max(size - 1, 1))


def _search(
    answers: Answers,
    clean: Images,
    labels: NDArray[np.int64],
    levels: int,
    queries: int,
    generator: np.random.Generator,
) -> Images:
    best, size = clean.copy(), clean.shape[1]
    lowest = margins(answers(clean), labels)
    for query in range(1, queries):
        active = np.flatnonzero(lowest >= 0)
        if not len(active):
            break
        if query == 1:
            signs = generator.choice(np.array([-1, 1]), (len(active), 1, size, 3))
            candidates = _moved(clean[active], signs * levels)  # vertical stripes
        else:
            candidates = _with_squares(best[active], clean[active], levels, side(query, queries, size), generator)
        found = margins(answers(candidates), labels[active])
        # the stripes are the start, better or not: squares search around them (algorithm 1)
        better = found < lowest[active] if query > 1 else np.ones(len(active), bool)
        best[active[better]], lowest[active[better]] = candidates[better], found[better]
    return best


def _moved(clean: Images, delta: NDArray[np.int64]) -> Images:
    moved: Images = np.clip(clean.astype(np.int64) + delta, 0, 255).astype(np.uint8)
    return moved


def _with_squares(best: Images, clean: Images, levels: int, width: int, generator: np.random.Generator) -> Images:
    """`best` with one square per image at the ball's edge: one sign per channel, the place drawn (algorithm 2)."""
    count, size = len(best), best.shape[1]
    corners = generator.integers(0, size - width + 1, (count, 2))
    signs = generator.choice(np.array([-1, 1]), (count, 3))
    candidates = best.copy()
    for row, ((top, left), sign) in enumerate(zip(corners, signs, strict=True)):
        window = np.s_[row, top : top + width, left : left + width]
        candidates[window] = _moved(clean[window], sign * levels)
    return candidates
