"""The sentence that says why a deck answered as it did."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from cards_deck.explaining.votes import said
from cards_deck.explaining.why import Reasons


def sentence(why: Reasons) -> str:
    """Why these cards answered, in one sentence with the numbers it rests on."""
    text = f"The spectrum is nearest to {why.nearest} ({_distances(why)})"
    if why.preferred is not None and not why.window:
        text += f" and{_strange(why)} speaks for {_preferred(why)}"
    if why.averages:
        text += ", but this deck averages its cards whatever the spectrum is"
    elif why.window:
        text += _window(why)
    return f"{text}{_unknown(why)}{_asked(why)}: {_answer(why)}."


def _strange(why: Reasons) -> str:
    if why.strange is None:
        return ""
    return ", by how strange it is ({:.1f}; clean images are about {:.1f}),".format(*why.strange)


def _preferred(why: Reasons) -> str:
    return "" if why.preferred is None else f"{why.preferred[0]} with {why.preferred[1]:.0%}"


def _window(why: Reasons) -> str:
    text = f", but the request's mean is nearest to {why.together}"
    if why.together == why.nearest:
        text = f", as those of the {why.window} images of this request are on average"
    return text if why.preferred is None else f"{text}, and together the {why.window} speak for {_preferred(why)}"


def _unknown(why: Reasons) -> str:
    far = f"farther from every reference than {why.unknown_share:.1%} of the training images"
    if why.window and why.together_unknown and not why.averages:
        together = "the request's images are"
        return f", yet {far}, as {together} on average" if why.unknown else f", yet {together} on average {far}"
    return f", yet {far}" if why.unknown else ""


def _asked(why: Reasons) -> str:
    """Why no further card was asked, or more than one."""
    if why.widened == "unknown_spectrum":
        return f", so {why.asked} cards were asked"
    if why.widened == "close_spectra":
        return f", and the two are {'on average ' if why.window else ''}too close to choose one"
    if why.first_confidence is None or why.threshold is None:
        return ", and the first answer was not sure enough" if why.widened == "low_confidence" else ""
    reached = why.first_confidence >= why.threshold - 1e-6 and why.widened != "low_confidence"
    numbers = _sureness(why, why.first_confidence, why.threshold, reached)
    if why.widened == "low_confidence" or why.pooled_early:
        return f", and the first answer was sure only with {numbers}"
    alone = len(why.cards) == 1 and reached
    return f", and {why.cards[0][0]} alone was sure with {numbers}" if alone else ""


def _sureness(why: Reasons, sure: float, threshold: float, reached: bool) -> str:
    # Rounded so that what did not reach the threshold does not look as if it had, nor the other way round.
    have, needed = _tenths(sure, math.floor), _tenths(threshold, math.floor if reached else math.ceil)
    said, unit = f"{have}%", "%"
    if why.sure_by == "lead":
        said, unit = f"a lead of {have} points over the next class", ""
    return f"{said} (calibrated; {f'{needed}{unit} are needed' if threshold > 0 else 'any answer is enough'})"


def _tenths(share: float, rounded: Callable[[float], int]) -> str:
    """Per cent, with one digit."""
    found = rounded(1000 * share + (1e-3 if rounded is math.floor else -1e-3)) / 10
    return f"{found:g}" if found > 0 or share <= 0 else "under 0.1"


def _distances(why: Reasons) -> str:
    text = f"distance {why.distance:.2f}, {farther(why.tail)}"
    return f"{text}; {why.second} is at {why.second_distance:.2f}" if why.second is not None else text


def farther(tail: float) -> str:
    """The calibrated distance in words."""
    share = "all" if tail >= 1 else ">99%" if tail > 0.995 else f"{tail:.0%}"
    return f"farther than {share} of its training images"


def _answer(why: Reasons) -> str:
    who = _listed([f"{name} ({weight:.0%})" for name, weight in why.cards])
    heard = ", weighed by the spectrum and by what they said," if why.heard else ""
    text = f"{who}{said(why.votes)}{heard} answered {why.label} with {why.confidence:.0%}"
    if why.abstained:
        text += f", too little for an unknown spectrum, which needs {why.needed:.0%}, so no class is named"
    return f"{text}; time was up before the other cards" if why.pooled_early else text


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
