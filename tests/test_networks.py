"""Networks: their sizes by hand, every image size, what may be pruned."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_training import make_network, one_thread, randomise  # noqa: F401  (the fixture acts by being here)
from torch import nn

from cards_deck.errors import InputError
from cards_deck.training.networks import NETWORKS, Network, Normalize, memory_format, prunable_weights
from cards_deck.training.networks.resnet import ResNet
from cards_deck.training.networks.wide_resnet import WideResNet

SMALL: dict[str, dict[str, Any]] = {
    "resnet": {"widths": (4, 8), "blocks": (1, 1)},
    "wide_resnet": {"depth": 10, "widen": 1},
}


def small(name: str) -> Network:
    return NETWORKS.build(name, **SMALL.get(name, {}))


def on_paper(settings: Network, classes: int = 10) -> nn.Module:
    """The module without memory: shapes only."""
    with torch.device("meta"):
        return settings.build(classes, Normalize((0, 0, 0), (1, 1, 1)))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def layers_on_longest_path(network: nn.Module) -> int:
    """Convolutions and linear layers, the 1x1 projections beside the path left out."""
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)]
    return len(convolutions) + sum(isinstance(module, nn.Linear) for module in network.modules())


def basic_block(channels: int, width: int, projected: bool) -> int:
    """Parameters of a basic block, by hand: two 3x3 convolutions, two batch-norms, and the projection (option B)."""
    plain = 9 * channels * width + 9 * width * width + 2 * (2 * width)
    return plain + (channels * width + 2 * width if projected else 0)


def test_resnet_18_has_its_published_size() -> None:
    network = on_paper(ResNet())
    assert parameters(network) == 11_173_962
    assert ResNet().depth == layers_on_longest_path(network) == 18


def test_resnet_20_has_the_size_counted_by_hand() -> None:
    settings = ResNet((16, 32, 64), (3, 3, 3))
    by_hand = 3 * 16 * 9 + 2 * 16  # stem
    by_hand += 3 * basic_block(16, 16, False)
    by_hand += basic_block(16, 32, True) + 2 * basic_block(32, 32, False)
    by_hand += basic_block(32, 64, True) + 2 * basic_block(64, 64, False)
    by_hand += 64 * 10 + 10
    assert by_hand == 272_474  # 269,722 with the padded shortcuts of option A, which have no weights
    assert parameters(on_paper(settings)) == by_hand
    assert settings.depth == layers_on_longest_path(on_paper(settings)) == 20


def test_wide_resnet_28_10_has_its_published_size() -> None:
    network = on_paper(WideResNet(28, 10))
    assert parameters(network) == 36_479_194
    assert layers_on_longest_path(network) == 4 * 6 + 2  # 28 counts the three projections too, one for each stage
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == 28


@pytest.mark.parametrize("name", NETWORKS.names())
@pytest.mark.parametrize("size", [32, 33, 50, 64, 96])
def test_every_network_takes_every_size(name: str, size: int) -> None:
    network = make_network(small(name), classes=7).eval()
    with torch.no_grad():
        logits = network(torch.rand(2, 3, size, size))
    assert logits.shape == (2, 7)
    assert logits.dtype == torch.float32
    assert not torch.equal(logits[0], logits[1])


@pytest.mark.parametrize("name", NETWORKS.names())
def test_every_network_normalises_inside(name: str) -> None:
    mean, std = (0.4, 0.5, 0.3), (0.2, 0.25, 0.3)
    torch.manual_seed(0)
    inside = randomise(small(name).build(4, Normalize(mean, std)))
    outside = randomise(small(name).build(4, Normalize((0, 0, 0), (1, 1, 1))))
    outside.load_state_dict(inside.state_dict())  # the statistics of the pixels are no part of the state
    images = torch.rand(3, 3, 32, 32)
    columns = images.movedim(1, 3)
    normalised = ((columns - torch.tensor(mean)) / torch.tensor(std)).movedim(3, 1)
    with torch.no_grad():
        assert torch.allclose(inside(images), outside(normalised), atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS.names())
def test_density_counts_convolutions_and_linear_layers_alone(name: str) -> None:
    network = make_network(small(name))
    weights = prunable_weights(network)
    named = dict(network.named_parameters())
    assert all(weights[key] is named[key] for key in weights)
    assert set(weights) == {key for key, value in named.items() if value.dim() > 1}  # batch-norm has vectors only


@pytest.mark.parametrize("name", NETWORKS.names())
def test_the_seed_decides_the_weights(name: str) -> None:
    first, again, other = (make_network(small(name), seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", NETWORKS.names())
def test_convolutions_start_as_kaiming_says(name: str) -> None:
    network = make_network(small(name))
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 500:
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert float(module.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.15)


@pytest.mark.parametrize(
    ("name", "fields", "says"),
    [
        ("resnet", {"widths": (4, 8), "blocks": (1,)}, "one positive number per stage"),
        ("resnet", {"widths": (), "blocks": ()}, "one positive number per stage"),
        ("resnet", {"widths": (4, 0), "blocks": (1, 1)}, "one positive number per stage"),
        ("wide_resnet", {"depth": 12}, "6 \\* blocks \\+ 4"),
        ("wide_resnet", {"depth": 4}, "6 \\* blocks \\+ 4"),
        ("wide_resnet", {"widen": 0}, "6 \\* blocks \\+ 4"),
    ],
)
def test_impossible_settings_are_refused(name: str, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        NETWORKS.build(name, **fields)


def test_channels_last_is_left_where_torch_crashes() -> None:
    """Heap corruption cannot be caught: the rule that avoids it is what is tested, and that training goes on."""
    normalize = Normalize([0.5] * 3, [0.25] * 3)
    narrow = NETWORKS.build("resnet", widths=(8, 16), blocks=(1, 1)).build(4, normalize)
    wide = NETWORKS.build("resnet", widths=(16, 32), blocks=(1, 1)).build(4, normalize)
    assert memory_format(narrow) is torch.contiguous_format
    assert memory_format(wide) is torch.channels_last
    narrow.to(memory_format=memory_format(narrow))
    narrow(torch.rand(4, 3, 64, 64)).sum().backward()
