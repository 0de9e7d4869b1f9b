"""A network in stages is the network; features are changed where asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from test_networks import small
from tiny_training import make_network, one_thread, patterns, tensors  # noqa: F401  (the fixture acts by being here)
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.forward import Forward, compiled_parts, stages, to_float
from cards_deck.training.forward import compiled as in_one
from cards_deck.training.networks import NETWORKS, memory_format
from cards_deck.training.networks.resnet import ResNet

IMAGES = tensors(patterns(6))[0]


@dataclass(frozen=True)
class Doubled:
    place: int

    def __call__(self, features: Tensor) -> Tensor:
        return 2 * features


@pytest.mark.parametrize("name", NETWORKS.names())
@pytest.mark.parametrize("cut", [False, True])
def test_parts_one_after_the_other_are_the_network(name: str, cut: bool) -> None:
    network = make_network(small(name)).eval()
    layout = memory_format(network)
    forward = Forward(compiled_parts(network, torch.device("cpu"), cut=cut), 32, layout)
    assert forward.stages == (1 if not cut else 2 if name == "resnet" else 3)
    assert torch.equal(forward(IMAGES), network(to_float(IMAGES, 32, layout)))


def test_resnet_18_is_cut_before_each_stage() -> None:
    with torch.device("meta"):
        parts = stages(make_network(ResNet()))
    firsts = [next(module for module in part.modules() if isinstance(module, nn.Conv2d)) for part in parts]
    assert [first.in_channels for first in firsts] == [3, 64, 128, 256]


@pytest.mark.parametrize("compiled", [False, True])
def test_features_are_changed_before_their_stage(compiled: bool) -> None:
    """Also where the stages are compiled: a change given after that is not lost."""
    network = make_network().eval()
    parts = stages(network)
    forward = Forward([in_one(part, "eager") for part in parts] if compiled else parts, 32, torch.channels_last)
    pixels = to_float(IMAGES, 32)
    with torch.no_grad():
        for _ in range(2):
            assert torch.allclose(forward(IMAGES, Doubled(0)), network(2 * pixels), atol=1e-5)
            assert torch.allclose(forward(IMAGES, Doubled(1)), parts[1](2 * parts[0](pixels)), atol=1e-5)
            assert torch.allclose(forward(IMAGES), network(pixels), atol=1e-5)


def test_every_shape_has_a_graph_of_its_own_and_none_is_left_uncompiled() -> None:
    """More stages, sizes and kinds of network than torch's limit of eight: one each, and nothing in it is dynamic."""
    torch.compiler.reset()
    graphs: list[list[Any]] = []

    def counted(graph: Any, inputs: list[Any]) -> Any:
        graphs.append([size for each in inputs if isinstance(each, Tensor) for size in each.shape])
        return graph.forward

    for widths in ((4, 8), (5, 8), (6, 8)):
        parts = [in_one(part, counted) for part in stages(make_network(ResNet(widths, (1, 1))).eval())]
        for size in (32, 24):
            with torch.no_grad():
                Forward(parts, size, torch.channels_last)(IMAGES)
    assert len(graphs) == 3 * 2 * 2
    assert all(type(size) is int for shape in graphs for size in shape)


def test_stages_follow_the_networks_mode_and_weights() -> None:
    network = make_network()
    parts = stages(network)
    network.eval()
    assert not any(module.training for part in parts for child in part.children() for module in child.modules())
    assert {id(p) for part in parts for p in part.parameters()} == {id(p) for p in network.parameters()}


def test_a_network_that_is_no_sequence_is_refused() -> None:
    with pytest.raises(InputError, match="needs a network that is a sequence of parts, got Linear"):
        stages(nn.Linear(2, 2))
