"""The sparse engine's logits are PyTorch's, for networks and for graphs made by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sparse_cards import Net, error, images, make_card, random_mask, reference
from tiny_training import make_network, one_thread, randomise  # noqa: F401  (the fixture acts by being here)

from cards_deck.card import Card
from cards_deck.inference import engines
from cards_deck.inference.engines import EngineKind, load
from cards_deck.training.export import export_graph
from cards_deck.training.networks import Network
from cards_deck.training.networks.resnet import ResNet
from cards_deck.training.networks.wide_resnet import WideResNet

pytestmark = pytest.mark.skipif(not engines.available(EngineKind.SPARSE), reason="the sparse engine is not compiled")
CLOSE = 1e-5  # of the logits' range
DENSITIES = (1.0, 0.5, 0.1, 0.02)
BATCHES = (1, 2, 3, 7, 8, 17, 33)
NETWORKS: dict[str, Network] = {
    "resnet": ResNet((16, 24, 40), (1, 2, 1)),
    "wide_resnet": WideResNet(depth=10, widen=1),
}


def pruned(network: Network, density: float) -> Card:
    """A network with random weights, of which every layer keeps the same fraction; larger where fewer are left."""
    module = randomise(make_network(network, classes=10))
    graph, rng = export_graph(module), np.random.default_rng(1)
    state = {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}
    tensors = {name: state[name] for name in graph.parameter_names}
    masks = {name: random_mask(rng, tensors[name].shape, density) for name in graph.weight_names}
    for name, mask in masks.items():
        tensors[name] = np.where(mask, tensors[name] / np.sqrt(density), 0).astype(np.float32)
    return make_card(graph, tensors, masks)


def agrees(card: Card, size: int, count: int = 3) -> None:
    pixels = images(count, size)
    assert error(load(card, EngineKind.SPARSE, image_size=size)(pixels), reference(card, pixels)) < CLOSE


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_at_every_batch_size(name: str, density: float) -> None:
    card, pixels = pruned(NETWORKS[name], density), images(max(BATCHES), 32)
    runner, expected = load(card, EngineKind.SPARSE, image_size=32), reference(card, pixels)
    for batch in BATCHES:
        assert error(runner(pixels[:batch]), expected[:batch]) < CLOSE, f"batch {batch}"


@pytest.mark.parametrize("size", [33, 47, 64, 96])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_at_other_image_sizes(name: str, size: int) -> None:
    agrees(pruned(NETWORKS[name], 0.1), size)


def test_a_resnet_18_of_its_full_width() -> None:
    agrees(pruned(ResNet(), 0.05), 32, count=2)


@pytest.mark.parametrize("which", ["first", "middle", "all"])
def test_layers_without_a_single_weight(which: str) -> None:
    """Only their biases and norms are left."""
    net = Net(density=0.3)
    x = net.op("relu", net.norm(net.conv(net.normalize(), 8, density=None if which == "middle" else 0)))
    y = net.op("relu", net.norm(net.conv(x, 8, bias=True, density=None if which == "first" else 0)))
    agrees(net.card(net.conv(net.op("add", y, x), 12, 1, stride=2, bias=True)), 16)


@pytest.mark.parametrize("size", [32, 33, 45, 96])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_convolutions(kernel: int, stride: int, size: int) -> None:
    """With no padding, with that which keeps the size, and with one more; of the second input's narrower planes too."""
    for padding in {0, 1, 2, kernel // 2}:
        net = Net(density=0.3)
        x = net.conv(net.normalize(), 6, kernel, stride=stride, padding=padding, bias=True)
        agrees(net.card(net.op("relu", net.conv(x, 7, kernel, stride=stride, padding=kernel // 2))), size, count=2)


@pytest.mark.parametrize("size", range(1, 21))
def test_planes_narrower_than_a_vector(size: int) -> None:
    net = Net(density=0.5)
    x = net.op("silu", net.conv(net.normalize(), 9))
    y = net.conv(x, 9, stride=2)
    agrees(net.card(net.op("add", net.conv(y, 9), net.conv(x, 9, 1, stride=2))), size)


@pytest.mark.parametrize(("kernel", "padding"), [(1, 1), (1, 2), (3, 2), (3, 4), (2, 1), (4, 2), (2, 0)])
@pytest.mark.parametrize("size", [4, 9, 32])
def test_paddings_that_make_planes_larger(kernel: int, padding: int, size: int) -> None:
    net = Net(density=0.6)
    x = net.conv(net.normalize(), 6, kernel, padding=padding)
    agrees(net.card(net.norm(net.conv(x, 5, kernel, stride=2, padding=padding))), size)


@pytest.mark.parametrize("size", [7, 8, 32, 45])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (1, 2, 0), (5, 3, 2)])
def test_pools(kernel: int, stride: int, padding: int, size: int) -> None:
    """Both kinds; a maximum may be negative, and padding must not win over it."""
    net = Net()
    x = net.conv(net.normalize(), 6)
    largest = net.op("max_pool", x, kernel=kernel, stride=stride, padding=padding)
    mean = net.op("avg_pool", x, kernel=kernel, stride=stride)
    pooled = [net.op("global_avg_pool", net.op("max_pool", net.norm(each), kernel=2, stride=1, padding=1))
              for each in (largest, mean)]  # fmt: skip
    agrees(net.card(net.linear(net.op("add", *pooled), 6, 10), classes=0), size)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_groups(groups: int) -> None:
    net = Net(density=0.7)
    x = net.conv(net.normalize(), 6)
    agrees(net.card(net.op("relu", net.conv(x, 12, groups=groups, bias=True))), 18)


def test_the_head_reads_every_pixel() -> None:
    """Flatten, and a norm, an activation and a sum of vectors."""
    net = Net(density=0.5)
    x = net.op("flatten", net.op("max_pool", net.conv(net.normalize(), 5, stride=2), kernel=3, stride=2, padding=0))
    y = net.op("silu", net.norm(net.linear(x, 5 * 7 * 7, 20)))
    z = net.op("add", net.op("relu", net.linear(x, 5 * 7 * 7, 20)), y)
    agrees(net.card(net.linear(net.norm(z, affine=False), 20, 10), classes=0), 32)


Branches = Callable[[Net, str, str], str]
SUMS: dict[str, Branches] = {
    "relu after": lambda net, x, y: net.op("relu", net.op("add", net.norm(net.conv(y, 8)), x)),
    "relu before": lambda net, x, y: net.op("add", net.op("relu", net.norm(net.conv(y, 8))), x),
    "silu before and after": lambda net, x, y: net.op("silu", net.op("add", x, net.op("silu", net.conv(y, 8)))),
    "chain": lambda net, x, y: net.op("add", net.op("add", net.op("add", net.conv(y, 8), x), y), x),
    "two convolutions": lambda net, x, y: net.op("add", net.conv(x, 8), net.conv(y, 8, 1)),
    "twice the same": lambda net, x, y: net.op("add", net.op("add", y, y), net.conv(x, 8)),
    "norm of a sum": lambda net, x, y: net.op("relu", net.norm(net.op("add", net.conv(y, 8), x))),
    "two norms": lambda net, x, y: net.op("add", net.norm(net.norm(net.conv(y, 8), affine=False)), x),
    "norm of an activation": lambda net, x, y: net.op("add", net.norm(net.op("relu", net.conv(y, 8))), x),
    "pre-activation": lambda net, x, y: net.op("add", net.conv(net.op("relu", net.norm(y)), 8), y),
    "activation of an activation": lambda net, x, y: net.op("relu", net.op("silu", net.op("add", x, y))),
}


@pytest.mark.parametrize("size", [6, 15, 32, 40])
@pytest.mark.parametrize("name", SUMS)
def test_what_follows_a_convolution(name: str, size: int) -> None:
    """Each order of norm, activation and sum is what is said, fused or not."""
    net = Net(density=0.4)
    x = net.conv(net.normalize(), 8)
    agrees(net.card(SUMS[name](net, x, net.op("relu", net.norm(net.conv(x, 8))))), size)


def test_images_without_a_normalization() -> None:
    net = Net()
    x = net.op("relu", net.conv("images", 8))
    agrees(net.card(net.op("add", x, net.conv("images", 8, 5, bias=True))), 20)


def test_the_answer_may_be_read_inside_the_graph() -> None:
    """The logits are an operation's input too, and the graph goes on behind them."""
    net = Net()
    logits = net.linear(net.op("global_avg_pool", net.conv(net.normalize(), 8)), 8, 10)
    net.op("relu", logits)
    card = net.card(logits, classes=0)
    agrees(card, 16)


def test_extreme_activations_stay_finite() -> None:
    """SiLU of large negative and positive numbers is 0 and the number."""
    net = Net()
    x = net.conv(net.normalize(), 8)
    net.tensors["t0"] *= np.float32(300)
    agrees(net.card(net.op("silu", x)), 16)


@pytest.mark.parametrize("number", [-100, -1e34, -3e38, -np.inf])
def test_silu_of_huge_negative_numbers_is_0(number: float) -> None:
    net = Net()
    x = net.op("silu", net.conv(net.normalize(), 8, bias=True))
    card = net.card(x)
    card.tensors["t0"][:], card.tensors["t1"][:] = 0, number
    found = load(card, EngineKind.SPARSE, image_size=16)(images(3, 16))
    np.testing.assert_array_equal(found, np.tile(card.tensors["t3"], (3, 1)))  # the head's bias is all that is left


@pytest.mark.parametrize("density", [1.0, 0.2])
@pytest.mark.parametrize("size", [8, 32, 45])
def test_binary_cards(size: int, density: float) -> None:
    """The kernels without multiplications; a norm may turn signs and differ in each channel."""
    net = Net(density=density, signed=True)
    x = net.op("relu", net.norm(net.conv(net.normalize(), 16)))
    y = net.op("relu", net.op("add", net.norm(net.conv(x, 16)), x))
    agrees(net.card(net.conv(y, 20, 3, stride=2, bias=True)), size)


def test_a_card_that_the_binary_quantizer_made() -> None:
    from cards_deck.training.quantizers import QUANTIZERS

    card = pruned(NETWORKS["resnet"], 0.1)
    tensors, scales = dict(card.tensors), {}
    for name in QUANTIZERS.build("binary").covers(card.graph.weight_names):
        weight, mask = torch.from_numpy(tensors[name]), torch.from_numpy(card.masks[name])
        codes, scale = QUANTIZERS.build("binary").grid(weight, mask)
        tensors[name], scales[name] = (codes * scale).numpy(), scale.numpy()
    agrees(make_card(card.graph, tensors, dict(card.masks), scales), 32)
