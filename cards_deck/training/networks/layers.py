"""What the architectures share: the normalising front, the initialisation, and which weights a ticket may prune."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from cards_deck.errors import InputError


class Normalize(nn.Module):
    """Subtract `mean` and divide by `std`, one value per channel, in units of [0, 1] pixels."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Float [n, 3, h, w] in [0, 1] -> the same shape, normalised."""
        return (images - self.mean) / self.std


def initialise(network: nn.Module) -> None:
    """Kaiming-normal convolutions (fan out, He et al. 2015), unit batch-norm, torch's default linear head; in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def draw_anew(network: nn.Module, generator: torch.Generator) -> None:
    """Give `network` fresh weights and batch-norm, in place, from a seed that `generator` (CPU) draws.

    They are drawn on the CPU, so that they are the same wherever the network lies; torch's own stream is left alone.
    """
    fresh = copy.deepcopy(network).cpu()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**40, (), generator=generator)))
        for module in fresh.modules():
            if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                module.reset_parameters()
        initialise(fresh)
    network.load_state_dict(fresh.state_dict())


def prunable_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return the convolution and linear weights by name: what `density` counts, stem and head included."""
    return {
        f"{name}.weight": module.weight
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }


def memory_format(network: nn.Module) -> torch.memory_format:
    """Channels last, a third faster on CPUs too; contiguous where that would crash.

    torch 2.13 corrupts the heap on a CPU in the backward pass of a strided 1x1 convolution with fewer than 16 input
    channels in channels-last memory (seen at 48, 64 and 96 px).
    """
    narrow = any(
        isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.stride != (1, 1) and m.in_channels < 16
        for m in network.modules()
    )
    return torch.contiguous_format if narrow else torch.channels_last


def resized(network: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> nn.Module:
    """Return a copy of `network` whose tensors have `shapes`, by their names in the state: one with channels cut out.

    Zero where the shape is another than before. InputError where a tensor is missing or has another number of
    dimensions.
    """
    changed = copy.deepcopy(network)
    for name, module in changed.named_modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
            for tensor in ("weight", "bias", "running_mean", "running_var"):
                _resize(module, tensor, f"{name}.{tensor}", shapes)
        if isinstance(module, nn.Conv2d):
            module.out_channels, module.in_channels = module.weight.shape[0], module.weight.shape[1] * module.groups
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.num_features = len(module.running_mean)
    return changed.to(memory_format=memory_format(changed))  # type: ignore[call-overload,no-any-return]


def _resize(module: nn.Module, tensor: str, name: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    value = getattr(module, tensor, None)
    if value is None:
        return
    if name not in shapes or len(shapes[name]) != value.dim():
        raise InputError(f"{name!r} must have {value.dim()} dimensions, got shape {shapes.get(name)}: another network")
    if tuple(value.shape) != shapes[name]:
        fresh = value.detach().new_zeros(shapes[name])
        setattr(module, tensor, nn.Parameter(fresh) if isinstance(value, nn.Parameter) else fresh)
