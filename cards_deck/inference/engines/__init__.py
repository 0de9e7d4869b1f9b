"""How a card executes. An engine is a module here with `load(card, *, image_size, threads) -> Runner`.

Engines are imported when they are asked for, so that a server needs only its own. AUTO measures; see `choice`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from cards_deck.card import Card, same_values
from cards_deck.errors import InputError, MissingExtraError
from cards_deck.shapes import output_classes
from cards_deck.spectrum import Floats, Images

__all__ = ["EngineKind", "Runner", "available", "load", "load_all", "load_chosen", "supports"]


class Runner(Protocol):
    """A loaded card."""

    def __call__(self, images: Images) -> Floats:
        """Logits float32 [n, classes] of uint8 [n, h, h, 3]."""


@dataclass(frozen=True)
class Mirrored:
    """A runner that sees every image mirrored, left for right."""

    runner: Runner

    def __call__(self, images: Images) -> Floats:
        """See `Runner`."""
        return self.runner(np.ascontiguousarray(images[:, :, ::-1]))


class EngineKind(StrEnum):
    """AUTO is, for each card, the fastest of those installed; TORCH only where there is no other."""

    AUTO = "auto"
    SPARSE = "sparse"
    ONNX = "onnx"
    OPENVINO = "openvino"
    TORCH = "torch"
    FAKE = "fake"


# In the order of preference where speeds are about the same.
MEASURED = (EngineKind.SPARSE, EngineKind.ONNX, EngineKind.OPENVINO)
_NEEDS: Mapping[EngineKind, tuple[str, ...]] = {
    EngineKind.SPARSE: (),
    EngineKind.ONNX: ("onnx", "onnxruntime"),
    EngineKind.OPENVINO: ("onnx", "openvino"),
    EngineKind.TORCH: ("torch",),
    EngineKind.FAKE: (),
}
_EXTRA: Mapping[EngineKind, str] = {
    EngineKind.ONNX: "serve",
    EngineKind.OPENVINO: "openvino",
    EngineKind.TORCH: "train",
}


def available(kind: EngineKind) -> bool:
    """Whether the engine's packages are installed (they are not imported), and for SPARSE, whether it is compiled."""
    if kind is EngineKind.AUTO:
        return any(available(each) for each in (*MEASURED, EngineKind.TORCH))
    if kind is EngineKind.SPARSE:
        from cards_deck.inference.engines.sparse_library import library

        return library() is not None
    return all(importlib.util.find_spec(name) is not None for name in _NEEDS[kind])


def supports(card: Card, kind: EngineKind) -> bool:
    """Whether the engine, which must be available, can run the card."""
    check = getattr(importlib.import_module(f"{__name__}.{kind}"), "supports", None)
    return check is None or bool(check(card))


def load(card: Card, kind: EngineKind = EngineKind.AUTO, *, image_size: int, threads: int = 1) -> Runner:
    """The card, ready to run on square images of `image_size` pixels with `threads` threads.

    Raises MissingExtraError when the engine is not installed and InputError when the card cannot run at that size.
    """
    return load_chosen(card, kind, image_size=image_size, threads=threads)[1]


def load_chosen(
    card: Card, kind: EngineKind = EngineKind.AUTO, *, image_size: int, threads: int = 1
) -> tuple[EngineKind, Runner]:
    """As `load`, with the engine that AUTO took."""
    kind = EngineKind(kind)
    if not available(kind):
        raise MissingExtraError(_missing(kind))
    if threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    output_classes(card.graph, card.shapes, image_size)
    if kind is EngineKind.AUTO:
        from cards_deck.inference.engines.choice import choose

        candidates = [each for each in MEASURED if available(each) and supports(card, each)]
        chosen = choose(card, candidates or [EngineKind.TORCH], image_size=image_size, threads=threads)
        return chosen.kind, chosen.runner
    return kind, load_named(card, kind, image_size=image_size, threads=threads)


def load_all(
    cards: Sequence[Card], kind: EngineKind = EngineKind.AUTO, *, image_size: int, threads: int = 1
) -> list[tuple[EngineKind, Runner]]:
    """As `load_chosen`, for each of the cards; a second look runs in the engine of the card whose weights it has, where
    that is among them."""
    own = {
        card.id: (card, load_chosen(card, kind, image_size=image_size, threads=threads))
        for card in cards
        if not card.mirrored
    }
    found: list[tuple[EngineKind, Runner]] = []
    for card in cards:
        other, loaded = own.get(card.record.weights_of, (card, None))
        if loaded is None or not same_values(card, other):
            found.append(load_chosen(card, kind, image_size=image_size, threads=threads))
        else:
            found.append((loaded[0], Mirrored(loaded[1])) if card.mirrored else loaded)
    return found


def load_named(card: Card, kind: EngineKind, *, image_size: int, threads: int) -> Runner:
    """The card in one engine that is available; nothing is checked."""
    runner: Runner = importlib.import_module(f"{__name__}.{kind}").load(card, image_size=image_size, threads=threads)
    return Mirrored(runner) if card.mirrored and kind is not EngineKind.TORCH else runner


def _missing(kind: EngineKind) -> str:
    if kind is EngineKind.SPARSE:
        return (
            "the sparse engine is not compiled here: with a C compiler (gcc or clang) installed, run "
            f"`python -m {__name__}._sparse.build`"
        )
    return f"the {kind} engine is not installed: pip install 'cards-deck[{_EXTRA.get(kind, 'serve')}]'"
