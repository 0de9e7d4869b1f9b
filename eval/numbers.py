"""How numbers are written in reports: percent, differences with their sign, and what a difference shows."""

from __future__ import annotations

from collections.abc import Mapping

FIELDS = (
    ("clean", "Clean"),
    ("mean", "Mean of all cells"),
    ("severity5", "Severity 5"),
    ("noise", "Noise"),
    ("non_noise", "Other than noise"),
)
ROUTE_LABELS = {
    "gated": "Deck, gated",
    "uniform": "Deck, plain average",
    "best_card": "Best single card",
    "random_card": "A card at random",
    "random_cards": "Cards at random",
    "confidence": "Most confident card",
    "classifier": "Corruption classifier",
    "gate_spectral": "Gate: nearest reference",
    "gate_softmax": "Gate: softmax of distances",
    "gate_router": "Gate: learned router",
    "gate_cascade": "Gate: confidence cascade",
    "gate_spectrum_cascade": "Gate: spectrum, then confidence",
    "gate_hedged_cascade": "Gate: hedged cascade",
    "gate_guarded_cascade": "Gate: guarded cascade",
    "gate_refereed_cascade": "Gate: refereed cascade",
    "gate_reliability": "Gate: class reliability",
    "cell_oracle": "Best card of each cell",
    "oracle": "Any card right",
}
BOUNDS = ("cell_oracle", "oracle")
AGAINST = {
    "best_card": "best single card",
    "uniform": "plain average",
    "random_card": "card at random",
    "random_cards": "cards at random",
    "confidence": "most confident card",
    "classifier": "corruption classifier",
    "hindsight_card": "best card in hindsight",
}

Interval = Mapping[str, float]


def percent(share: float, digits: int = 1) -> str:
    """0.8671 -> "86.7"."""
    return f"{100 * share:.{digits}f}"


def points(difference: float, digits: int = 1) -> str:
    """-0.0123 -> "−1.2", 0.0123 -> "+1.2", what rounds to zero -> "0.0"."""
    text = f"{100 * difference:+.{digits}f}"
    return f"{0:.{digits}f}" if float(text) == 0 else text.replace("-", "−")


def span(interval: Interval, digits: int = 1) -> str:
    """The two ends of an interval of shares: "86.0 – 87.3"."""
    return f"{percent(interval['low'], digits)} – {percent(interval['high'], digits)}"


def span_points(interval: Interval, digits: int = 1) -> str:
    """The two ends of an interval of differences: "+0.4 to +1.2"."""
    return f"{points(interval['low'], digits)} to {points(interval['high'], digits)}"


def verdict(difference: Interval) -> str:
    """What a paired difference shows: "better" or "worse" only where its interval excludes zero."""
    if difference["low"] > 0:
        return "better"
    return "worse" if difference["high"] < 0 else "no difference shown"


def words(name: str) -> str:
    """A registered name as words: "gaussian_noise" -> "gaussian noise"."""
    return name.replace("_", " ")


def short(count: float) -> str:
    """A count in three digits: 2_338_162 -> "2.34 M", 845_597_184 -> "846 M"."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= 0.9995 * size:
            digits = f"{count / size:.3g}"
            return f"{float(digits):g} {unit}"
    return f"{count:.3g}"
