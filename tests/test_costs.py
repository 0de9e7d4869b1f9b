"""Costs of cards: counted by hand on a small graph, and against PyTorch's own shapes on real networks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cards_deck.card import Card
from cards_deck.commands.show import table
from cards_deck.costs import CardCost, LayerCost, card_costs, layer_costs
from cards_deck.errors import InputError
from cards_deck.graph import Graph, Node
from cards_deck.inference.fake_deck import fake_card, fake_deck

SHAPES = {"a": (4, 3, 3, 3), "b": (8, 2, 1, 1), "c": (5, 8), "c.bias": (5,)}
GRAPH = Graph(
    "images",
    "y",
    (
        Node("conv2d", ("images",), "x1", {"weight": "a"}, {"stride": 2, "padding": 1}),  # 8 px -> 4 px
        Node("relu", ("x1",), "x2"),
        Node("conv2d", ("x2",), "x3", {"weight": "b"}, {"groups": 2}),
        Node("global_avg_pool", ("x3",), "x4"),
        Node("linear", ("x4",), "y", {"weight": "c", "bias": "c.bias"}),
    ),
)


def _card() -> Card:
    rng = np.random.default_rng(0)
    masks = {name: np.zeros(SHAPES[name], np.bool_) for name in ("a", "c")}
    masks["a"].flat[:27] = True
    masks["c"].flat[:10] = True
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    tensors |= {name: tensors[name] * mask for name, mask in masks.items()}
    record = dataclasses.replace(fake_card("x").record, density=(27 + 16 + 10) / (108 + 16 + 40))
    return Card("small", record, GRAPH, tensors, masks)


def test_layers_counted_by_hand() -> None:
    assert layer_costs(GRAPH, SHAPES, 8) == (
        LayerCost("a", 4 * 3 * 9, 4 * 4 * 4 * 3 * 9),
        LayerCost("b", 8 * 2, 4 * 4 * 8 * 2),
        LayerCost("c", 5 * 8, 5 * 8),
    )


def test_a_card_counted_by_hand() -> None:
    cost = card_costs(_card(), 8)
    assert cost == CardCost(164, 27 + 16 + 10, 1728 + 256 + 40, 27 * 16 + 256 + 10)
    assert cost.parameter_density == pytest.approx(53 / 164)
    assert cost.flop_density == pytest.approx(698 / 2024)


def test_parameter_density_is_the_cards() -> None:
    card = fake_card("card")
    assert card_costs(card, 32).parameter_density == card.density


def test_a_weight_used_twice_is_stored_once_and_computed_twice() -> None:
    nodes = (
        Node("conv2d", ("images",), "x1", {"weight": "w"}, {"padding": 1}),
        Node("conv2d", ("x1",), "x2", {"weight": "w"}, {"padding": 1}),
    )
    (only,) = layer_costs(Graph("images", "x2", nodes), {"w": (3, 3, 3, 3)}, 4)
    assert only == LayerCost("w", 81, 2 * 16 * 81)


def test_a_graph_that_cannot_run_is_refused() -> None:
    with pytest.raises(InputError, match="does not fit"):
        layer_costs(GRAPH, {**SHAPES, "b": (8, 3, 1, 1)}, 8)


def test_macs_of_real_networks_match_what_torch_executes() -> None:
    import torch
    from torch import nn

    from cards_deck.training.export import export_graph
    from cards_deck.training.networks import Normalize
    from cards_deck.training.networks.resnet import ResNet

    network = ResNet((4, 8), (1, 1)).build(7, Normalize([0.5] * 3, [0.25] * 3)).eval()
    counted: dict[str, int] = {}

    def count(name: str, module: nn.Module) -> None:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            # Each output element sums over one filter.
            weight = module.weight
            assert isinstance(weight, torch.Tensor)
            counted[f"{name}.weight"] = output.numel() * weight[0].numel()

        module.register_forward_hook(hook)

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            count(name, module)
    with torch.inference_mode():
        network(torch.rand(1, 3, 20, 20))
    graph = export_graph(network)
    state = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    costs = layer_costs(graph, {name: state[name] for name in graph.parameter_names}, 20)
    assert {cost.name: cost.macs for cost in costs} == counted


def test_show_prints_both_densities() -> None:
    deck = fake_deck()
    cost = card_costs(deck.cards[0], deck.image_size)
    row = next(line for line in table(deck).splitlines() if line.startswith(deck.cards[0].name))
    assert f"{100 * cost.parameter_density:.2f} %" in row
    assert f"{100 * cost.flop_density:.2f} %" in row
    assert f"{cost.macs_executed / 1e6:.1f}" in row
