"""Which channels of a network must go together, what they weigh, and cutting them out.

The dependencies are traced by torch-pruning (Fang et al., "DepGraph", CVPR 2023): a residual sum ties the outputs of
all its summands, batch-norm follows its convolution, and whoever reads a channel loses that input.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError
from cards_deck.training.networks import memory_format, prunable_weights
from cards_deck.training.tickets.heads import head_name


@dataclass(frozen=True)
class ChannelSet:
    """Channels 0 ... width - 1 that several layers share: channel c goes in all of them or in none.

    Attributes:
        width: number of channels.
        outputs: names of the weights whose outputs (dimension 0) they are.
        inputs: names of the weights whose inputs (dimension 1) they are; a linear layer after a flattened image reads
            several features of each.
    """

    width: int
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]


def channel_sets(network: nn.Module, image_size: int) -> tuple[ChannelSet, ...]:
    """Return the sets of channels that can be cut, each layer's outputs in one of them, but for the head's.

    InputError for a network with grouped convolutions, whose channels do not stand alone.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.groups != 1:
            raise InputError(f"structured: convolution {name!r} has {module.groups} groups, it must have 1 to be cut")
    traced, copied = _trace(network, image_size)
    return tuple(sorted((_named(group, traced, copied) for group in _groups(traced)), key=lambda each: each.outputs))


def weights_left(network: nn.Module, sets: Sequence[ChannelSet], widths: Sequence[int]) -> int:
    """Convolution and linear weights that remain with `widths` channels in `sets`."""
    shapes = {name: list(weight.shape) for name, weight in prunable_weights(network).items()}
    for each, width in zip(sets, widths, strict=True):
        for name in each.outputs:
            shapes[name][0] = width
        for name in each.inputs:
            shapes[name][1] = shapes[name][1] // each.width * width
    return sum(math.prod(shape) for shape in shapes.values())


@torch.no_grad()
def importances(network: nn.Module, sets: Sequence[ChannelSet]) -> list[Tensor]:
    """Return float32 [width] per set: how much each channel weighs, 1 on average over its set.

    After the group norm of DepGraph (section 4.2), which adds up squares over all weights that go with a channel; here
    it is the mean over the layers of their L2 norms, so that a large layer does not decide alone.
    """
    weights = {name: weight.cpu().float() for name, weight in prunable_weights(network).items()}
    found = []
    for each in sets:
        norms = [weights[name].flatten(1).norm(dim=1) for name in each.outputs]
        norms += [weights[name].transpose(0, 1).reshape(each.width, -1).norm(dim=1) for name in each.inputs]
        mean = torch.stack(norms).mean(0)
        if not bool(mean.isfinite().all()):
            raise InputError(
                "channels that are not numbers cannot be ranked: training diverged, lower the learning rate"
            )
        found.append(mean / mean.mean().clamp(min=1e-12))
    return found


def choose_channels(
    network: nn.Module, sets: Sequence[ChannelSet], scores: Sequence[Tensor], target: int
) -> list[Tensor]:
    """Return bool [width] per set: the channels kept, with the weights left as near `target` as one channel allows.

    The channels are asked one by one, least score first over all sets (of equal ones the first set and lower index),
    and go where that brings the weights left nearer to `target`; each set keeps its best.
    """
    kept = [torch.ones(each.width, dtype=torch.bool) for each in sets]
    best = [int(score.argmax()) for score in scores]
    order = sorted(
        (float(scores[s][c]), s, c) for s, each in enumerate(sets) for c in range(each.width) if c != best[s]
    )
    widths = [each.width for each in sets]
    left = weights_left(network, sets, widths)
    for _, s, c in order:
        fewer = weights_left(network, sets, [width - (i == s) for i, width in enumerate(widths)])
        if abs(fewer - target) < abs(left - target):
            left, kept[s][c], widths[s] = fewer, False, widths[s] - 1
    return kept


def check_reachable(network: nn.Module, sets: Sequence[ChannelSet], target: int) -> None:
    """InputError where one channel in each set still leaves more than `target` weights."""
    least = weights_left(network, sets, [1] * len(sets))
    if least > target:
        total = sum(weight.numel() for weight in prunable_weights(network).values())
        raise InputError(
            f"structured: `density` must be at least {least / total:.6f} for this network, got {target / total:.6f}: "
            "one channel is left in each layer then; choose a higher density or a wider network"
        )


def cut(network: nn.Module, image_size: int, sets: Sequence[ChannelSet], kept: Sequence[Tensor]) -> nn.Module:
    """Return a copy of `network` with only the channels `kept` (bool [width]) of each set: its tensors are smaller."""
    of_outputs = {each.outputs: mask for each, mask in zip(sets, kept, strict=True)}
    traced, small = _trace(network, image_size)
    gone = [torch.nonzero(~of_outputs[_named(g, traced, small).outputs]).squeeze(1).tolist() for g in _groups(traced)]
    roots = [(group[0].dep.target.module, group[0].dep.handler) for group in _groups(traced)]
    for (module, rule), channels in zip(roots, gone, strict=True):
        if channels:
            traced.get_pruning_group(module, rule, channels).prune()
    return small.to(memory_format=memory_format(small))  # type: ignore[call-overload,no-any-return]


def _trace(network: nn.Module, image_size: int) -> tuple[Any, nn.Module]:
    """(torch-pruning's graph, the copy of `network` it is of)."""
    try:
        import torch_pruning
    except ImportError:
        raise InputError(
            "structured: channels are traced by torch-pruning, which is not installed: "
            "install it with pip install 'cards-deck[structured]'"
        ) from None
    small = copy.deepcopy(network).requires_grad_(True)
    images = torch.zeros(1, 3, image_size, image_size, device=next(small.parameters()).device)
    with torch.enable_grad():
        return torch_pruning.DependencyGraph().build_dependency(small, (images,)), small


def _groups(traced: Any) -> list[Any]:
    """Every group of channels but the head's outputs."""
    head = traced.model.get_submodule(head_name(traced.model))
    return list(traced.get_all_groups(ignored_layers=[head], root_module_types=[nn.Conv2d, nn.Linear]))


def _named(group: Any, traced: Any, network: nn.Module) -> ChannelSet:
    names = {module: f"{name}.weight" for name, module in network.named_modules()}
    layers = [(dep, dep.target.module) for dep, _ in group if isinstance(dep.target.module, nn.Conv2d | nn.Linear)]
    outputs = {names[module] for dep, module in layers if traced.is_out_channel_pruning_fn(dep.handler)}
    inputs = {names[module] for dep, module in layers if traced.is_in_channel_pruning_fn(dep.handler)}
    return ChannelSet(len(group[0].idxs), tuple(sorted(outputs)), tuple(sorted(inputs)))
