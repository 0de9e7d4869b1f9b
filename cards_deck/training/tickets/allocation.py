"""How many weights each layer keeps: uniform, Erdos-Renyi-Kernel (ERK; Evci et al., ICML 2020, section 3), by time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.networks import prunable_weights
from cards_deck.training.tickets.ticket import Masks, exact_count

DISTRIBUTIONS = ("erk", "flops", "uniform")
FLOOR = 0.25  # least density of a layer under `flops`, in units of the whole network's


def check_distribution(method: str, distribution: str) -> None:
    """InputError unless `distribution` is one that `layer_counts` knows."""
    if distribution not in DISTRIBUTIONS:
        raise InputError(f"{method}: `distribution` must be {', '.join(DISTRIBUTIONS)}, got {distribution!r}")


def layer_counts(
    shapes: Mapping[str, tuple[int, ...]],
    density: float,
    distribution: str,
    places: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Return the number of kept weights per layer; they add up to round(density * total) exactly.

    `uniform` gives every layer, the first included, the same density. `erk` scales a layer's density with
    (sum of its dimensions) / (product of its dimensions); layers that this would fill beyond 1 are dense, and the
    scale is solved again for the others. `flops` makes the network fast: a layer's density falls with the square root
    of its number of output places, which `places` tells (see `_flops`).
    """
    if not 0 < density <= 1:
        raise InputError(f"`density` is the fraction of weights kept and must lie in (0, 1], got {density}")
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    target = exact_count(sum(sizes.values()), density)
    if distribution == "uniform":
        wanted = {name: density * size for name, size in sizes.items()}
    elif distribution == "erk":
        wanted = _erk(shapes, sizes, target)
    elif distribution == "flops":
        if places is None or set(places) != set(shapes):
            raise InputError("the distribution flops needs the number of output places of each layer: pass `places`")
        wanted = _flops(shapes, sizes, places, density)
    else:
        raise InputError(f"`distribution` must be erk, flops or uniform, got {distribution!r}")
    return _round_to(wanted, sizes, target)


def _erk(shapes: Mapping[str, tuple[int, ...]], sizes: Mapping[str, int], target: int) -> dict[str, float]:
    raw = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}
    dense: set[str] = set()
    while True:
        free = [name for name in shapes if name not in dense]
        weight = sum(raw[name] * sizes[name] for name in free)
        scale = (target - sum(sizes[name] for name in dense)) / weight if free else 0.0
        full = {name for name in free if scale * raw[name] >= 1}
        if not full:
            return {name: float(sizes[name]) if name in dense else scale * raw[name] * sizes[name] for name in shapes}
        dense |= full


def _flops(
    shapes: Mapping[str, tuple[int, ...]], sizes: Mapping[str, int], places: Mapping[str, int], density: float
) -> dict[str, float]:
    """Weights per layer that cost the fewest multiply-adds for what they can still compute.

    A layer of n weights, each used at p places of its output, takes n * p * d multiply-adds at density d. Fewest in all
    at a given sum of n * d is a linear programme: it empties the layers of many places and fills those of few. What a
    layer loses must count too. Keeping each weight with probability d, rescaled by 1 / d, gives its share of an output
    the relative variance (1 - d) / d; so minimise

        sum of n * p * d  +  lambda * sum of n * (1 - d) / d,      floor <= d <= 1,

    where lambda is set by the number of weights wanted. The derivative n * p - lambda * n / d^2 vanishes at
    d = sqrt(lambda / p), clipped to its bounds: Neyman's optimum allocation of a sample among strata of unequal cost
    (J. Royal Statistical Society, 1934). The floor is a quarter of the whole density, or one weight for each output
    where uniform would have given as many: no layer dies. For a ResNet-18 at 5 % that is 2.8 % of the multiply-adds;
    uniform takes 5 %, ERK 12.5 %, and the linear programme with the same floor 2.5 %.
    """
    target = exact_count(sum(sizes.values()), density)
    floors = {name: max(FLOOR * density, min(density, shapes[name][0] / sizes[name])) for name in shapes}

    def kept(root: float) -> dict[str, float]:
        return {
            name: sizes[name] * min(1.0, max(floors[name], root / math.sqrt(places[name]))) for name in shapes
        }  # fmt: skip

    low, high = 0.0, math.sqrt(max(places.values()))
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(kept(middle).values()) < target else (low, middle)
    return kept(high)


def _round_to(wanted: Mapping[str, float], sizes: Mapping[str, int], target: int) -> dict[str, int]:
    """Round down, keep at least one weight a layer, and hand the remainder to the largest fractions."""
    counts = {name: min(sizes[name], max(1, int(value))) for name, value in wanted.items()}
    by_fraction = sorted(wanted, key=lambda name: (int(wanted[name]) - wanted[name], name))
    while (missing := target - sum(counts.values())) != 0:
        step = 1 if missing > 0 else -1
        movable = [n for n in by_fraction if (counts[n] < sizes[n] if step > 0 else counts[n] > 1)]
        if not movable:
            raise InputError(
                f"density too low: {target} weights cannot give each of {len(sizes)} layers at least one; choose a "
                "higher `density`"
            )
        for name in movable[: abs(missing)]:
            counts[name] += step
    return counts


def output_places(network: nn.Module, image_size: int) -> dict[str, int]:
    """Places (height x width) of each convolution's output for square images, 1 for a linear layer, by weight name."""
    places: dict[str, int] = {}
    handles = [
        module.register_forward_hook(_count_places(f"{name}.weight", places))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    device, training = next(network.parameters()).device, network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, image_size, image_size, device=device))
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return places


def _count_places(name: str, places: dict[str, int]) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        places[name] = places.get(name, 0) + math.prod(output.shape[2:])

    return hook


def random_masks(
    network: nn.Module, density: float, distribution: str, generator: torch.Generator, image_size: int = 32
) -> Masks:
    """Return masks with `layer_counts` random weights kept in each layer, on the weights' device.

    `image_size` is that of the images to be answered, which `flops` counts multiply-adds for.
    """
    weights = prunable_weights(network)
    places = output_places(network, image_size) if distribution == "flops" else None
    counts = layer_counts({name: tuple(w.shape) for name, w in weights.items()}, density, distribution, places)
    masks = {}
    for name, weight in weights.items():
        mask = torch.zeros(weight.numel(), dtype=torch.bool)
        mask[torch.randperm(weight.numel(), generator=generator)[: counts[name]]] = True
        masks[name] = mask.view(weight.shape).to(weight.device)
    return masks
