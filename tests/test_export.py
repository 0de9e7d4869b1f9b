"""The layer graph of a torch network: both engines compute from it what the module computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from test_networks import small
from tiny_training import make_network, one_thread, patterns, randomise  # noqa: F401  (the fixture acts by being here)
from torch import Tensor, nn
from torch.nn import functional as F

from cards_deck.card import Card, CardRecord
from cards_deck.errors import InputError
from cards_deck.inference.engines import EngineKind, load
from cards_deck.training.export import export_graph
from cards_deck.training.networks import NETWORKS, Normalize

ENGINES = (EngineKind.TORCH, EngineKind.ONNX)
NORMALIZE = Normalize((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))


def dense_card(network: nn.Module) -> Card:
    """The module as a card that prunes nothing."""
    graph = export_graph(network)
    state = {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}
    record = CardRecord({"name": "any"}, {}, {}, {"name": "any"}, 1.0, 32, {}, {}, 0)
    return Card("card", record, graph, {name: state[name] for name in graph.parameter_names}, {})


def worst_difference(network: nn.Module, engine: EngineKind, size: int) -> float:
    """Largest difference of the engine's logits from the module's on four images."""
    images = patterns(4, size).images
    with torch.no_grad():
        wanted = network(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).numpy()
    answers = load(dense_card(network), engine, image_size=size)(images)
    assert answers.shape == wanted.shape
    assert np.ptp(wanted) > 0.01, "logits that hardly differ would prove nothing"
    return float(np.abs(answers - wanted).max())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [32, 45, 96])
@pytest.mark.parametrize("name", NETWORKS.names())
def test_engines_compute_what_the_network_computes(name: str, size: int, engine: EngineKind) -> None:
    network = randomise(make_network(small(name)))
    assert worst_difference(network, engine, size) < 1e-4


@pytest.mark.parametrize("name", NETWORKS.names())
def test_the_graph_names_every_tensor_of_the_network_once(name: str) -> None:
    network = make_network(small(name))
    graph = export_graph(network)
    counters = {key for key in network.state_dict() if key.endswith("num_batches_tracked")}
    assert set(graph.parameter_names) == set(network.state_dict()) - counters
    assert graph.nodes[0].op == "normalize"


class Zoo(nn.Module):
    """Every layer that a card can hold, in every form that is allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.normalize = NORMALIZE
        self.stem = nn.Conv2d(3, 8, 5, stride=2, padding=2)
        self.norm = nn.BatchNorm2d(8, affine=False, eps=1e-3)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.silu = nn.SiLU()
        self.pools = nn.Sequential(nn.MaxPool2d(3, stride=2, padding=1), nn.AvgPool2d(2))
        self.same = nn.Identity()
        self.pointwise = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8 * 4 * 4, 3, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        x = self.norm(self.stem(self.normalize(images)))
        x = torch.add(F.silu(self.depthwise(torch.relu(x))), self.silu(x))
        x = self.same(self.pools(F.relu(x, inplace=False)))
        x = x + self.pointwise(x) + x
        logits: Tensor = self.head(torch.flatten(x, 1))
        return logits


class TwoBranches(nn.Module):
    """A pooled branch beside a flattened one: the two must not be mistaken for each other."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pool, self.flatten = nn.Conv2d(3, 4, 8, stride=8), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.wide, self.narrow = nn.Linear(4 * 4 * 4, 3), nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        pooled = self.pool(x)
        logits: Tensor = self.wide(self.flatten(x)) + self.narrow(self.flatten(pooled))
        return logits


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("make", [Zoo, TwoBranches])
def test_engines_know_every_layer(make: Callable[[], nn.Module], engine: EngineKind) -> None:
    torch.manual_seed(0)
    assert worst_difference(randomise(make()), engine, 32) < 1e-4


class Wrong(nn.Module):
    """A convolution, then something that a card cannot hold."""

    def __init__(self, then: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.then = then

    def forward(self, images: Tensor) -> Tensor:
        return self.then(self.stem(images))


@pytest.mark.parametrize(
    ("then", "says"),
    [
        (nn.Tanh(), "layer 'then' is a Tanh"),
        (nn.Dropout(0.5), "layer 'then' is a Dropout"),
        (nn.LayerNorm(8), "layer 'then' is a LayerNorm"),
        (nn.Conv2d(4, 4, 3, dilation=2), "dilation 1"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "zero padding"),
        (nn.Conv2d(4, 4, 3, padding="same"), "one whole number for both sides"),
        (nn.Conv2d(4, 4, (3, 3), stride=(1, 2)), "one whole number for both sides"),
        (nn.BatchNorm2d(4, track_running_stats=False), "track running statistics"),
        (nn.AdaptiveAvgPool2d(2), "output size 1"),
        (nn.AvgPool2d(2, padding=1), "average pooling"),
        (nn.AvgPool2d(2, ceil_mode=True), "average pooling"),
        (nn.AvgPool2d(2, divisor_override=3), "average pooling"),
        (nn.MaxPool2d(3, ceil_mode=True), "max pooling"),
        (nn.MaxPool2d(3, dilation=2), "max pooling"),
        (nn.Flatten(2), "from dimension 1"),
        (nn.Flatten(1, 2), "from dimension 1"),
        (lambda x: torch.flatten(x), "from dimension 1"),
        (lambda x: torch.flatten(x, start_dim=2), "from dimension 1"),
        (lambda x: torch.add(x, x, alpha=2), "alpha"),
        (lambda x: x + 1.0, "add takes 2 input"),
        (lambda x: x.mean((2, 3)), "mean"),
        (lambda x: torch.tanh(x), "not a layer that a card can hold"),
    ],
)
def test_what_a_card_cannot_hold_is_refused(then: Callable[[Tensor], Tensor], says: str) -> None:
    """A graph that computes something else than the network would be found out by nobody."""
    with pytest.raises(InputError, match=says):
        export_graph(Wrong(then))
