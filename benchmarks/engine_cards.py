"""The cards that the engines are timed on: random weights, and in every layer evenly random masks of one density."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cards_deck.card import Card, CardRecord
from cards_deck.inference.fake_deck import fake_images
from cards_deck.registry import describe
from cards_deck.training.calibration import activation_ranges
from cards_deck.training.export import export_graph
from cards_deck.training.networks import Normalize
from cards_deck.training.networks.resnet import ResNet
from cards_deck.training.quantizers import QUANTIZERS, Quantizer
from cards_deck.training.quantizers.straight_through import on_grid

SIZE, CLASSES = 32, 10
CALIBRATION = 16  # images: their number does not change how long anything takes
NETWORKS: Mapping[str, ResNet] = {
    "rn20": ResNet((16, 32, 64), (3, 3, 3)),
    "rn18": ResNet(),
    "rn18w128": ResNet((128, 256, 512, 1024)),
}


def module(name: str) -> nn.Module:
    """The dense network in PyTorch, ready for inference."""
    torch.manual_seed(0)
    return NETWORKS[name].build(CLASSES, Normalize([0.5] * 3, [0.25] * 3)).eval()


def channels_last(network: nn.Module) -> nn.Module:
    """The network with its weights in the memory order that PyTorch's convolutions are fastest in on a CPU."""
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def card(name: str, density: float = 1.0, kind: str = "none") -> Card:
    """A network under random masks, its values as the quantizer `kind` leaves them; int8 with ranges of activations.

    Kept weights are scaled up so that activations stay as large as in the dense network.
    """
    network = module(name)
    graph, quantizer = export_graph(network), QUANTIZERS.build(kind)
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    tensors = {key: state[key] for key in graph.parameter_names}
    rng = np.random.default_rng(0)
    masks: dict[str, NDArray[np.bool_]] = {}
    if density < 1:
        masks = {key: rng.random(tensors[key].shape, np.float32) < density for key in graph.weight_names}
        tensors |= {key: tensors[key] * mask * np.float32(density**-0.5) for key, mask in masks.items()}
    scales = _quantize(tensors, masks, quantizer.covers(graph.weight_names), quantizer)
    weights = sum(tensors[key].size for key in graph.weight_names)
    dropped = sum(mask.size - int(mask.sum()) for mask in masks.values())
    kept = 1 - dropped / weights
    none = {"name": "none"}
    record = CardRecord(
        describe(NETWORKS[name]), none, describe(quantizer), none, kept, quantizer.bits, none, {}, seed=0
    )  # fmt: skip
    made = Card(name, record, graph, tensors, masks, scales)
    if kind != "int8":
        return made
    return dataclasses.replace(made, ranges=activation_ranges(made, fake_images(CALIBRATION, SIZE)))


def _quantize(
    tensors: dict[str, NDArray[np.float32]],
    masks: Mapping[str, NDArray[np.bool_]],
    names: tuple[str, ...],
    quantizer: Quantizer,
) -> dict[str, NDArray[np.float32]]:
    """Round the named tensors in place; returns their scales."""
    scales = {}
    for name in names:
        mask = masks.get(name, np.ones(tensors[name].shape, bool))
        values, scale = on_grid(torch.from_numpy(tensors[name]), torch.from_numpy(mask), quantizer)
        tensors[name], scales[name] = values.numpy(), scale.numpy()
    return scales
