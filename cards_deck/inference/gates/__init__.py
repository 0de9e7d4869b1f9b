"""Gates: which cards answer an image, and with what weight. An image is routed by itself.

A gate is one file here: a frozen dataclass registered in `GATES` under its kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cards_deck.gate_config import GateConfig
from cards_deck.inference.gates._base import GATES, BaseGate, Gate, Known, Reading, Routing, mean_distances
from cards_deck.inference.gates._choose import (
    BUDGETS,
    Candidate,
    Chosen,
    check_budget,
    check_loss,
    choose_gate,
    fit_gate,
    fit_gates,
)
from cards_deck.inference.gates._decide import Decision, Run, decide
from cards_deck.inference.gates._observed import CLEAN, Judged, Observed, Score, judge, score
from cards_deck.inference.gates._promise import Promise
from cards_deck.inference.gates._wrapped import Fixed
from cards_deck.inference.gates.spectral import SpectralGate
from cards_deck.inference.gates.uniform import UniformGate
from cards_deck.registry import discover

if TYPE_CHECKING:
    from cards_deck.deck import Deck

__all__ = [
    "BUDGETS",
    "CLEAN",
    "GATES",
    "BaseGate",
    "Candidate",
    "Chosen",
    "Decision",
    "Fixed",
    "Gate",
    "GateConfig",
    "Judged",
    "Known",
    "Observed",
    "Promise",
    "Reading",
    "Routing",
    "Run",
    "Score",
    "SpectralGate",
    "UniformGate",
    "build_gate",
    "check_budget",
    "check_loss",
    "choose_gate",
    "decide",
    "fit_gate",
    "fit_gates",
    "gate_for",
    "judge",
    "mean_distances",
    "score",
]

discover(__name__, __path__)


def build_gate(config: GateConfig, known: Known) -> BaseGate:
    """The gate of this kind; InputError where the kind, its parameters, its arrays and the deck do not fit together."""
    return GATES.build(config.kind, config=config, known=known)


def gate_for(deck: Deck, config: GateConfig | None = None) -> BaseGate:
    """The gate that the deck asks for, or the one of `config`."""
    return build_gate(deck.gate if config is None else config, Known.of(deck))
