"""Compact, accurate, robust deep networks in decks, with a gate that reads the image's spectrum.

Public names are imported when they are first used: `import cards_deck` itself loads nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cards_deck.card import Card, CardRecord, read_card, write_card
    from cards_deck.corruptions import CORRUPTIONS, corrupt
    from cards_deck.data import Dataset
    from cards_deck.deck import Deck, GateConfig, References, read_deck, size_on_disk, write_deck
    from cards_deck.errors import (
        CardError,
        CardsDeckError,
        DataError,
        DeckError,
        InputError,
        MissingExtraError,
    )
    from cards_deck.graph import Graph, Node
    from cards_deck.inference.engines import EngineKind
    from cards_deck.inference.gates import Routing, SpectralGate, UniformGate
    from cards_deck.inference.predictor import Prediction, Predictor
    from cards_deck.spectrum import build_references, log_amplitude

__version__ = "0.1.0"

_HOMES = {
    "cards_deck.card": ("Card", "CardRecord", "read_card", "write_card"),
    "cards_deck.corruptions": ("CORRUPTIONS", "corrupt"),
    "cards_deck.data": ("Dataset",),
    "cards_deck.deck": ("Deck", "GateConfig", "References", "read_deck", "size_on_disk", "write_deck"),
    "cards_deck.errors": ("CardError", "CardsDeckError", "DataError", "DeckError", "InputError", "MissingExtraError"),
    "cards_deck.graph": ("Graph", "Node"),
    "cards_deck.inference.engines": ("EngineKind",),
    "cards_deck.inference.gates": ("Routing", "SpectralGate", "UniformGate"),
    "cards_deck.inference.predictor": ("Prediction", "Predictor"),
    "cards_deck.spectrum": ("build_references", "log_amplitude"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "CORRUPTIONS",
    "Card",
    "CardError",
    "CardRecord",
    "CardsDeckError",
    "DataError",
    "Dataset",
    "Deck",
    "DeckError",
    "EngineKind",
    "GateConfig",
    "Graph",
    "InputError",
    "MissingExtraError",
    "Node",
    "Prediction",
    "Predictor",
    "References",
    "Routing",
    "SpectralGate",
    "UniformGate",
    "__version__",
    "build_references",
    "corrupt",
    "log_amplitude",
    "read_card",
    "read_deck",
    "size_on_disk",
    "write_card",
    "write_deck",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cards_deck' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
