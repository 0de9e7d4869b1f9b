"""The product's networks as cards with random masks; needs torch."""

from __future__ import annotations

import numpy as np
import torch

from cards_deck.card import Card, CardRecord
from cards_deck.registry import describe
from cards_deck.training.export import export_graph
from cards_deck.training.networks import Normalize
from cards_deck.training.networks.resnet import ResNet
from cards_deck.training.networks.wide_resnet import WideResNet

NETWORKS = {"resnet": ResNet((16, 32, 64, 96), (1, 1, 2, 1)), "wide_resnet": WideResNet(10, 1)}


def network_card(name: str, density: float, seed: int = 0) -> Card:
    """A card of an untrained network that keeps `density` of each weight tensor, scaled to keep signals in size."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = NETWORKS[name].build(10, Normalize([0.5] * 3, [0.25] * 3)).eval()
    graph = export_graph(network)
    wanted = set(graph.parameter_names)
    tensors = {key: value.numpy().copy() for key, value in network.state_dict().items() if key in wanted}
    masks = {key: rng.random(tensors[key].shape) < density for key in graph.weight_names}
    for key, mask in masks.items():
        tensors[key] = np.where(mask, tensors[key] / np.sqrt(density), 0).astype(np.float32)
    kept = sum(int(mask.sum()) for mask in masks.values()) / sum(mask.size for mask in masks.values())
    none = {"name": "none"}
    record = CardRecord(describe(NETWORKS[name]), none, none, none, kept, 32, none, {}, seed)
    return Card(name, record, graph, tensors, masks)
