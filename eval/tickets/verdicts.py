"""What an effect measured over a few seeds shows: an interval, and one rule for all claims."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtrit

from cards_deck.errors import InputError

SEEDS = 3  # fewest for a verdict
CONFIDENCE = 0.95
SEEN, NOT_SEEN, INCONCLUSIVE, MISSING = "seen", "not seen", "inconclusive at this scale", "not measured"

Kind = Literal["greater", "no_worse"]

RULE = (
    f"An effect is a difference within one seed, its interval the {CONFIDENCE:.0%} t interval over at least {SEEDS} "
    "seeds. "
    "Where a paper claims a gain, the effect is **seen** if its interval lies above 0 and reaches the smallest effect "
    "of "
    "interest, **not seen** if the whole interval lies below that smallest effect (below 0 or too small to matter), "
    "and "
    "**inconclusive at this scale** otherwise. Where a paper claims that nothing is lost, it is **seen** if the "
    "interval "
    "lies above minus the smallest effect, **not seen** if it lies below, else **inconclusive at this scale**. A "
    "claim of "
    "several effects is seen if all are, not seen if any is not. The smallest effects were set before anything was "
    "measured. Where something that a claim presupposes does not hold on every seed, it is **inconclusive at this "
    "scale** whatever its effects are; what is presupposed was written down after they were known."
)


@dataclass(frozen=True)
class Effect:
    """Mean and ends of the interval; the ends are infinite where there is one value."""

    values: tuple[float, ...]
    value: float
    low: float
    high: float


def effect(values: Sequence[float]) -> Effect:
    """The mean of paired differences, one per seed, with Student's t interval."""
    if not values or not all(map(math.isfinite, values)):
        raise InputError(f"an effect needs finite numbers, at least one, got {list(values)}")
    mean, n = statistics.fmean(values), len(values)
    if n == 1:
        return Effect(tuple(values), mean, -math.inf, math.inf)
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * statistics.stdev(values) / math.sqrt(n)
    return Effect(tuple(values), mean, mean - half, mean + half)


def verdict(found: Effect, smallest: float, kind: Kind) -> str:
    """The rule, see `RULE`; `smallest` is the smallest effect of interest, 0 or more."""
    if len(found.values) < SEEDS:
        return MISSING
    if kind == "no_worse":
        if found.low > -smallest:
            return SEEN
        return NOT_SEEN if found.high < -smallest else INCONCLUSIVE
    if found.low > 0 and found.high >= smallest:
        return SEEN
    return NOT_SEEN if found.high < smallest or found.high <= 0 else INCONCLUSIVE


def together(verdicts: Sequence[str]) -> str:
    """The verdict on a claim of several effects."""
    for one in (MISSING, NOT_SEEN, INCONCLUSIVE):
        if one in verdicts:
            return one
    return SEEN
