"""How a card executes. An engine is a module here with `load(card, *, image_size, threads) -> Runner`.

Engines are imported when they are asked for, so that a server needs only its own.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

from cards_deck.card import Card
from cards_deck.errors import InputError, MissingExtraError
from cards_deck.shapes import output_classes
from cards_deck.spectrum import Floats, Images

__all__ = ["EngineKind", "Runner", "available", "load"]


class Runner(Protocol):
    """A loaded card."""

    def __call__(self, images: Images) -> Floats:
        """Logits float32 [n, classes] of uint8 [n, h, h, 3]."""


class EngineKind(StrEnum):
    """AUTO is ONNX where ONNX Runtime is installed, else TORCH."""

    AUTO = "auto"
    ONNX = "onnx"
    TORCH = "torch"
    FAKE = "fake"


_NEEDS: Mapping[EngineKind, tuple[str, ...]] = {
    EngineKind.ONNX: ("onnx", "onnxruntime"),
    EngineKind.TORCH: ("torch",),
    EngineKind.FAKE: (),
}
_EXTRA: Mapping[EngineKind, str] = {EngineKind.ONNX: "serve", EngineKind.TORCH: "train"}


def available(kind: EngineKind) -> bool:
    """Whether the engine's packages are installed; they are not imported."""
    if kind is EngineKind.AUTO:
        return available(EngineKind.ONNX) or available(EngineKind.TORCH)
    return all(importlib.util.find_spec(name) is not None for name in _NEEDS[kind])


def load(card: Card, kind: EngineKind = EngineKind.AUTO, *, image_size: int, threads: int = 1) -> Runner:
    """The card, ready to run on square images of `image_size` pixels with `threads` threads.

    Raises MissingExtraError when the engine is not installed and InputError when the card cannot run at that size.
    """
    kind = EngineKind(kind)
    if kind is EngineKind.AUTO:
        kind = EngineKind.ONNX if available(EngineKind.ONNX) else EngineKind.TORCH
    if not available(kind):
        raise MissingExtraError(f"the {kind} engine is not installed: pip install 'cards-deck[{_EXTRA[kind]}]'")
    if threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    output_classes(card.graph, card.shapes, image_size)
    module = importlib.import_module(f"{__name__}.{kind}")
    runner: Runner = module.load(card, image_size=image_size, threads=threads)
    return runner
