"""How many weights each layer keeps: uniform, or Erdos-Renyi-Kernel (ERK; Evci et al., ICML 2020, section 3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from cards_deck.errors import InputError
from cards_deck.training.networks import prunable_weights
from cards_deck.training.tickets.ticket import Masks, exact_count


def layer_counts(shapes: Mapping[str, tuple[int, ...]], density: float, distribution: str) -> dict[str, int]:
    """Return the number of kept weights per layer; they add up to round(density * total) exactly.

    `uniform` gives every layer, the first included, the same density. `erk` scales a layer's density with
    (sum of its dimensions) / (product of its dimensions); layers that this would fill beyond 1 are dense, and the
    scale is solved again for the others.
    """
    if not 0 < density <= 1:
        raise InputError(f"`density` is the fraction of weights kept and must lie in (0, 1], got {density}")
    sizes = {name: _product(shape) for name, shape in shapes.items()}
    target = exact_count(sum(sizes.values()), density)
    if distribution == "uniform":
        wanted = {name: density * size for name, size in sizes.items()}
    elif distribution == "erk":
        wanted = _erk(shapes, sizes, target)
    else:
        raise InputError(f"`distribution` must be erk or uniform, got {distribution!r}")
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


def _round_to(wanted: Mapping[str, float], sizes: Mapping[str, int], target: int) -> dict[str, int]:
    """Round down, keep at least one weight a layer, and hand the remainder to the largest fractions."""
    counts = {name: min(sizes[name], max(1, int(value))) for name, value in wanted.items()}
    by_fraction = sorted(wanted, key=lambda name: (int(wanted[name]) - wanted[name], name))
    while (missing := target - sum(counts.values())) != 0:
        step = 1 if missing > 0 else -1
        movable = [n for n in by_fraction if (counts[n] < sizes[n] if step > 0 else counts[n] > 1)]
        if not movable:
            raise InputError(f"density too low: {target} weights cannot give each of {len(sizes)} layers at least one")
        for name in movable[: abs(missing)]:
            counts[name] += step
    return counts


def random_masks(network: nn.Module, density: float, distribution: str, generator: torch.Generator) -> Masks:
    """Return masks with `layer_counts` random weights kept in each layer, on the weights' device."""
    weights = prunable_weights(network)
    counts = layer_counts({name: tuple(w.shape) for name, w in weights.items()}, density, distribution)
    masks = {}
    for name, weight in weights.items():
        mask = torch.zeros(weight.numel(), dtype=torch.bool)
        mask[torch.randperm(weight.numel(), generator=generator)[: counts[name]]] = True
        masks[name] = mask.view(weight.shape).to(weight.device)
    return masks


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product
