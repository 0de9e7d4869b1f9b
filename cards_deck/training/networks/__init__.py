"""Architectures, one per file.

A network is a frozen dataclass of settings registered in `NETWORKS`; `build(classes, normalize)` makes the module.
It takes float [n, 3, h, w] in [0, 1], normalises inside, and returns logits [n, classes]. It is built from the layers
that `cards_deck.graph` knows, so that `cards_deck.training.export` can write its layer graph.
"""

from __future__ import annotations

from typing import Protocol

from torch import nn

from cards_deck.registry import Registry, discover

__all__ = [
    "NETWORKS",
    "Network",
    "Normalize",
    "draw_anew",
    "initialise",
    "memory_format",
    "prunable_weights",
    "resized",
]

from cards_deck.training.networks.layers import (
    Normalize,
    draw_anew,
    initialise,
    memory_format,
    prunable_weights,
    resized,
)


class Network(Protocol):
    """Settings of an architecture."""

    def build(self, classes: int, normalize: Normalize) -> nn.Module:
        """Return the module, its weights drawn from torch's global generator."""
        ...


NETWORKS: Registry[Network] = Registry("network")
discover(__name__, __path__)
