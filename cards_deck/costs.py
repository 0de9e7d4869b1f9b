"""What a card costs: weights, and multiply-adds for one image, in all and by the weights that are kept.

One multiply-add (MAC) is one weight times one activation. A convolution's weight is used once at each place of its
output, so of two weights of equal size in a file, the one in a wide early layer costs more time than the one in a
narrow late layer: hence two densities. Multiplications with the zero padding count as any other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cards_deck.card import Card
from cards_deck.graph import Graph
from cards_deck.shapes import Shape, activation_shapes


@dataclass(frozen=True)
class LayerCost:
    """One conv or linear weight tensor: its name, how many weights it has, and the MACs it takes for one image."""

    name: str
    weights: int
    macs: int


@dataclass(frozen=True)
class CardCost:
    """Of one card and one image.

    `weights` and `macs` are of the dense network, `weights_kept` and `macs_executed` of what the masks keep, which is
    what an engine that skips zeros computes (the others compute all `macs`).
    """

    weights: int
    weights_kept: int
    macs: int
    macs_executed: int

    @property
    def parameter_density(self) -> float:
        """Fraction of conv and linear weights kept: what `density` means everywhere else."""
        return self.weights_kept / max(self.weights, 1)

    @property
    def flop_density(self) -> float:
        """Fraction of multiply-adds left: the mean of the layers' densities, weighted with their MACs."""
        return self.macs_executed / max(self.macs, 1)


def layer_costs(graph: Graph, shapes: Mapping[str, Shape], image_size: int) -> tuple[LayerCost, ...]:
    """Cost of every conv and linear weight of `graph`, in order of use, on square images of `image_size` pixels.

    A weight that several nodes use is counted once, its MACs once per use. InputError if the graph cannot run.
    """
    values = activation_shapes(graph, shapes, image_size)
    macs = dict.fromkeys(graph.weight_names, 0)
    for node in graph.nodes:
        if node.op in ("conv2d", "linear"):
            name = node.params["weight"]
            places = math.prod(values[node.output][1:])  # height x width, 1 for a linear layer
            macs[name] += places * math.prod(shapes[name])
    return tuple(LayerCost(name, math.prod(shapes[name]), macs[name]) for name in graph.weight_names)


def card_costs(card: Card, image_size: int) -> CardCost:
    """Cost of `card` on square images of `image_size` pixels, from its masks. InputError if it cannot run."""
    layers = layer_costs(card.graph, card.shapes, image_size)
    kept = {layer.name: _kept(card, layer) for layer in layers}
    return CardCost(
        weights=sum(layer.weights for layer in layers),
        weights_kept=sum(kept.values()),
        macs=sum(layer.macs for layer in layers),
        macs_executed=sum(kept[layer.name] * (layer.macs // layer.weights) for layer in layers),
    )


def _kept(card: Card, layer: LayerCost) -> int:
    return int(np.count_nonzero(card.masks[layer.name])) if layer.name in card.masks else layer.weights
