"""How many weights each layer keeps: ERK and uniform, by hand and against an independent solution."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from test_networks import on_paper
from tiny_training import NETWORK, make_network, one_thread  # noqa: F401  (the fixture acts by being here)

from cards_deck.errors import InputError
from cards_deck.training.networks import prunable_weights
from cards_deck.training.networks.resnet import ResNet
from cards_deck.training.tickets.allocation import layer_counts, output_places, random_masks

Shapes = Mapping[str, tuple[int, ...]]
SHAPES: dict[str, Shapes] = {
    settings: {name: tuple(w.shape) for name, w in prunable_weights(on_paper(network)).items()}
    for settings, network in {
        "tiny": NETWORK,
        "resnet-20": ResNet((16, 32, 64), (3, 3, 3)),
        "resnet-18": ResNet(),
    }.items()
}
PLACES: dict[str, Mapping[str, int]] = {
    "tiny": output_places(make_network(), 32),
    "resnet-20": output_places(make_network(ResNet((16, 32, 64), (3, 3, 3))), 32),
    "resnet-18": {
        name: {"1": 1024, "4": 1024, "5": 1024, "6": 256, "7": 256, "8": 64, "9": 64, "10": 16, "11": 16, "14": 1}[
            name.split(".")[0]
        ]
        for name in SHAPES["resnet-18"]
    },
}
DENSITIES = (0.02, 0.05, 0.1, 0.2, 0.37, 0.5, 0.8, 0.99, 1.0)


def erk_by_bisection(shapes: Shapes, target: int) -> dict[str, float]:
    """Densities min(1, scale * sum of dimensions / size) whose weights add up to `target`."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}

    def densities(scale: float) -> dict[str, float]:
        return {name: min(1.0, scale * sum(shape) / sizes[name]) for name, shape in shapes.items()}

    low, high = 0.0, float(sum(sizes.values()))
    for _ in range(200):
        middle = (low + high) / 2
        total = sum(density * sizes[name] for name, density in densities(middle).items())
        low, high = (middle, high) if total < target else (low, middle)
    return {name: density * sizes[name] for name, density in densities(high).items()}


@pytest.mark.parametrize("network", SHAPES)
@pytest.mark.parametrize("density", DENSITIES)
def test_erk_is_the_independent_solution_rounded(network: str, density: float) -> None:
    shapes = SHAPES[network]
    target = round(density * sum(math.prod(shape) for shape in shapes.values()))
    counts, wanted = layer_counts(shapes, density, "erk"), erk_by_bisection(shapes, target)
    assert sum(counts.values()) == target
    for name, count in counts.items():
        # A layer that deserves less than one weight gets one, at the cost of others.
        assert abs(count - max(1, wanted[name])) < 1.001, name
        assert 1 <= count <= math.prod(shapes[name])


@pytest.mark.parametrize("network", SHAPES)
@pytest.mark.parametrize("density", DENSITIES)
def test_uniform_gives_every_layer_the_same_density(network: str, density: float) -> None:
    shapes = SHAPES[network]
    counts = layer_counts(shapes, density, "uniform")
    assert sum(counts.values()) == round(density * sum(math.prod(shape) for shape in shapes.values()))
    for name, count in counts.items():
        assert abs(count - max(1, density * math.prod(shapes[name]))) < 1.001, name


def test_erk_by_hand() -> None:
    """26 of 104 weights; both layers' dimensions add up to 12, so each gets 13."""
    shapes = {"linear": (8, 4), "conv": (4, 2, 3, 3)}
    assert layer_counts(shapes, 0.25, "erk") == {"linear": 13, "conv": 13}
    assert layer_counts(shapes, 0.25, "uniform") == {"linear": 8, "conv": 18}


def test_erk_by_hand_with_a_dense_layer() -> None:
    """51 of 102 weights; 5 : 20 would give the first layer 10.2 of its 2, so it is dense and the other has 49."""
    assert layer_counts({"stem": (2, 1, 1, 1), "linear": (10, 10)}, 0.5, "erk") == {"stem": 2, "linear": 49}


def test_the_remainder_goes_to_the_largest_fractions() -> None:
    """10 of 30 in layers of 7, 11 and 12: 2.33, 3.67 and 4."""
    assert layer_counts({"a": (7, 1), "b": (11, 1), "c": (12, 1)}, 1 / 3, "uniform") == {"a": 2, "b": 4, "c": 4}


def test_every_layer_keeps_a_weight() -> None:
    counts = layer_counts({"small": (2, 1), "large": (100, 100)}, 0.001, "uniform")
    assert counts == {"small": 1, "large": 9}
    with pytest.raises(InputError, match="cannot give each of 2 layers at least one"):
        layer_counts({"small": (2, 1), "large": (100, 100)}, 0.0001, "uniform")


@pytest.mark.parametrize("density", [0.0, -0.1, 1.01])
def test_impossible_densities_are_refused(density: float) -> None:
    with pytest.raises(InputError, match="fraction of weights kept"):
        layer_counts({"a": (4, 4)}, density, "erk")


def test_unknown_distributions_are_refused() -> None:
    with pytest.raises(InputError, match="erk, flops or uniform, got 'even'"):
        layer_counts({"a": (4, 4)}, 0.5, "even")


def test_random_masks_keep_the_counts_anywhere() -> None:
    network = make_network()
    weights = prunable_weights(network)
    counts = layer_counts({name: tuple(w.shape) for name, w in weights.items()}, 0.3, "erk")

    def draw(seed: int) -> dict[str, torch.Tensor]:
        return random_masks(network, 0.3, "erk", torch.Generator().manual_seed(seed))

    for name, mask in draw(0).items():
        assert mask.dtype == torch.bool
        assert mask.shape == weights[name].shape
        assert int(mask.sum()) == counts[name]
    assert all(torch.equal(mask, draw(0)[name]) for name, mask in draw(0).items())
    largest = max(weights, key=lambda name: weights[name].numel())
    often = torch.stack([draw(seed)[largest] for seed in range(200)]).float().mean(0)
    assert float((often - counts[largest] / often.numel()).abs().max()) < 0.2  # no position is favoured


def _macs(counts: Mapping[str, float], places: Mapping[str, int]) -> float:
    return sum(count * places[name] for name, count in counts.items())


@pytest.mark.parametrize("network", SHAPES)
@pytest.mark.parametrize("density", DENSITIES)
def test_flops_is_exact_kills_no_layer_and_is_the_fastest(network: str, density: float) -> None:
    shapes, places = SHAPES[network], PLACES[network]
    counts = {kind: layer_counts(shapes, density, kind, places) for kind in ("flops", "uniform", "erk")}
    total = sum(math.prod(shape) for shape in shapes.values())
    assert sum(counts["flops"].values()) == round(density * total)
    for name, count in counts["flops"].items():
        size = math.prod(shapes[name])
        assert max(1, math.floor(density * size / 4)) <= count <= size, name
        if density * size > shapes[name][0] + 1:
            assert count >= shapes[name][0], name  # one weight an output
    if density < 0.5:
        share = 1.0 if network == "tiny" else 0.8
        assert _macs(counts["flops"], places) < share * _macs(counts["uniform"], places)
        assert _macs(counts["flops"], places) < _macs(counts["erk"], places)


def test_flops_by_hand() -> None:
    """9 places against 1: densities 1 : 3. 40 of 400 weights, so 0.05 and 0.15."""
    shapes = {"early": (10, 20), "late": (20, 10)}
    assert layer_counts(shapes, 0.1, "flops", {"early": 9, "late": 1}) == {"early": 10, "late": 30}


def test_flops_gives_a_layer_of_countless_places_its_floor() -> None:
    """A quarter of 10 % of 200 weights is 5; one weight for each of 10 outputs is more; the late layer has the rest."""
    assert layer_counts({"early": (10, 20), "late": (20, 10)}, 0.1, "flops", {"early": 10**9, "late": 1}) == {
        "early": 10,
        "late": 30,
    }
    assert layer_counts({"early": (1, 200), "late": (20, 10)}, 0.1, "flops", {"early": 10**9, "late": 1}) == {
        "early": 5,
        "late": 35,
    }


def test_flops_fills_a_layer_of_few_places_and_no_more() -> None:
    counts = layer_counts({"early": (4, 100), "late": (4, 2)}, 0.5, "flops", {"early": 100, "late": 1})
    assert counts == {"early": 196, "late": 8}


@pytest.mark.parametrize("network", SHAPES)
@pytest.mark.parametrize("density", [0.05, 0.2, 0.5])
def test_no_exchange_between_two_layers_betters_the_objective(network: str, density: float) -> None:
    """Time + lambda * variance, with lambda from a layer that is at neither bound."""
    shapes, places = SHAPES[network], PLACES[network]
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    counts = {name: float(count) for name, count in layer_counts(shapes, density, "flops", places).items()}
    free = max(
        (name for name in counts if density / 3.9 < counts[name] / sizes[name] < 0.99), key=lambda name: sizes[name]
    )
    weight = places[free] * (counts[free] / sizes[free]) ** 2

    def objective(kept: Mapping[str, float]) -> float:
        lost = sum(sizes[name] ** 2 / count - sizes[name] for name, count in kept.items())
        return _macs(kept, places) + weight * lost

    best = objective(counts)
    for giver in counts:
        for taker in counts:
            step = 0.02 * min(counts[giver], counts[taker])
            given, taken = counts[giver] - step, counts[taker] + step
            floor = max(density / 4, min(density, shapes[giver][0] / sizes[giver])) * sizes[giver]
            if giver != taker and given >= floor and taken <= sizes[taker]:
                assert objective({**counts, giver: given, taker: taken}) > best - 1e-3 * best, (giver, taker)


def test_flops_needs_the_places() -> None:
    with pytest.raises(InputError, match="pass `places`"):
        layer_counts({"a": (4, 4)}, 0.5, "flops")
    with pytest.raises(InputError, match="pass `places`"):
        layer_counts({"a": (4, 4)}, 0.5, "flops", {"b": 1})


def test_output_places_leave_the_network_as_it_was() -> None:
    network = make_network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    places = output_places(network, 20)
    assert set(places) == set(prunable_weights(network))
    assert sorted(set(places.values())) == [1, 100, 400]
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_random_masks_by_time() -> None:
    network = make_network()
    weights = prunable_weights(network)
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    masks = random_masks(network, 0.3, "flops", torch.Generator().manual_seed(0), 32)
    counts = layer_counts(shapes, 0.3, "flops", output_places(network, 32))
    assert {name: int(mask.sum()) for name, mask in masks.items()} == counts
